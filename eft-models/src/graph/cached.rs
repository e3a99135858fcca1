//! [`CachedSession`]: a session over a graph with caches.
use std::sync::Arc;

use eft_core::{EngineSpec, Result, RowFeed, Scores, Session, check};

use super::interface::Graph;
use super::plan::CachePlan;
use super::shared_cache::SharedCache;
use crate::pass_logits::{PassLogits, collect};

pub(super) struct CachedSession<G: Graph> {
    graph: Arc<G>,
    spec: EngineSpec<G::Backend>,
    plan: CachePlan,
    caches: Vec<SharedCache<G>>,
    /// For each row of the batch, the cache that holds it and its row there.
    places: Vec<(usize, usize)>,
}

impl<G: Graph> CachedSession<G> {
    /// A session of `rows` empty rows.
    pub(super) fn new(graph: Arc<G>, spec: EngineSpec<G::Backend>, plan: CachePlan, rows: usize) -> Self {
        let (caches, places) = match plan.masked_slots {
            true => (vec![SharedCache::new(rows)], (0..rows).map(|row| (0, row)).collect()),
            false => (vec![SharedCache::new(1); rows], (0..rows).map(|row| (row, 0)).collect()),
        };
        Self { graph, spec, plan, caches, places }
    }

    /// Gives each row of a shared cache its own if together they would need more slots than the context has: a model's
    /// tables may be only as long as its context.
    fn separate(&mut self, feed: &[RowFeed]) -> Result<()> {
        let Some(context) = self.spec.context else { return Ok(()) };
        for index in 0..self.caches.len() {
            let rows: Vec<_> = (0..self.places.len()).filter(|row| self.places[*row].0 == index).collect();
            let most = rows.iter().map(|row| feed[*row].tokens.len()).max().unwrap_or(0);
            let fits = self.caches[index].longest() + most <= context;
            if fits || rows.len() < 2 {
                continue;
            }
            let alone = |row: &usize| self.caches[index].select(&self.graph, &[self.places[*row].1]);
            let alone = rows.iter().map(alone).collect::<Result<Vec<_>>>()?;
            for (row, alone) in rows.into_iter().zip(alone) {
                self.places[row] = (self.caches.len(), 0);
                self.caches.push(alone);
            }
            self.caches[index] = SharedCache::new(0);
        }
        Ok(())
    }

    fn feed(&mut self, feed: &[RowFeed]) -> Result<Vec<PassLogits<G::Backend>>> {
        let mut passes = Vec::new();
        for (index, cache) in self.caches.iter_mut().enumerate() {
            // In the order of the cache's rows.
            let mut rows: Vec<_> = (0..feed.len()).filter(|row| self.places[*row].0 == index).collect();
            rows.sort_unstable_by_key(|row| self.places[*row].1);
            let feeds: Vec<_> = rows.iter().map(|row| &feed[*row]).collect();
            let mut fed = cache.feed(&self.graph, self.plan, &feeds)?;
            fed.iter_mut().flat_map(|pass| &mut pass.owners).for_each(|(row, _)| *row = rows[*row]);
            passes.extend(fed);
        }
        Ok(passes)
    }

    fn truncate(&mut self, lengths: &[usize]) {
        for ((cache, row), length) in self.places.iter().zip(lengths) {
            self.caches[*cache].truncate(*row, *length);
        }
    }
}

impl<G: Graph> Session for CachedSession<G> {
    type Backend = G::Backend;

    fn rollback_limit(&self) -> Vec<usize> {
        self.places.iter().map(|(cache, row)| self.caches[*cache].length(*row)).collect()
    }

    fn room(&self) -> Vec<usize> {
        let left = |length| self.spec.context.map_or(usize::MAX, |context| context - length);
        self.rollback_limit().into_iter().map(left).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<G::Backend>> {
        self.spec.check_feeds(feed, &self.room())?;
        let before = self.rollback_limit();
        self.separate(feed)?;
        // Caches are values, so a pass that failed has not changed those it was given: truncating the rows undoes it.
        let fed = self.feed(feed);
        let (backend, width) = (self.graph.backend(), self.spec.vocab.width());
        let scores = fed.and_then(|passes| collect(backend, passes, feed.len(), width));
        scores.inspect_err(|_| self.truncate(&before))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        let limits = self.rollback_limit();
        check::rollback(drop, &limits)?;
        let lengths: Vec<_> = limits.iter().zip(drop).map(|(length, drop)| length - drop).collect();
        self.truncate(&lengths);
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.places.len())?;
        if rows.iter().copied().eq(0..self.places.len()) {
            return Ok(());
        }
        let (mut caches, mut places) = (Vec::new(), vec![(0, 0); rows.len()]);
        for (index, cache) in self.caches.iter().enumerate() {
            let taken: Vec<_> = (0..rows.len()).filter(|row| self.places[rows[*row]].0 == index).collect();
            let within: Vec<_> = taken.iter().map(|row| self.places[rows[*row]].1).collect();
            if taken.is_empty() {
                continue;
            }
            if self.plan.masked_slots {
                taken.iter().enumerate().for_each(|(i, row)| places[*row] = (caches.len(), i));
                caches.push(cache.select(&self.graph, &within)?);
            } else {
                // Copies of a row share its caches, which are values that never change.
                for row in taken {
                    places[row] = (caches.len(), 0);
                    caches.push(cache.clone());
                }
            }
        }
        (self.caches, self.places) = (caches, places);
        Ok(())
    }
}
