//! [`CachedSession`]: a session over a model with a cache.
use std::sync::Arc;

use eft_core::{EngineSpec, Result, RowFeed, Scores, Session, check};

use super::Graph;
use super::block::{Block, Way};
use super::scored::{Part, scores};

pub(super) struct CachedSession<G: Graph> {
    graph: Arc<G>,
    spec: EngineSpec<G::Backend>,
    way: Way,
    blocks: Vec<Block<G>>,
    /// For each row its block, and which row of the block it is.
    places: Vec<(usize, usize)>,
}

impl<G: Graph> CachedSession<G> {
    /// Of so many rows without tokens.
    pub(super) fn new(graph: Arc<G>, spec: EngineSpec<G::Backend>, way: Way, rows: usize) -> Self {
        let (blocks, places) = match way.holes {
            true => (vec![Block::new(rows)], (0..rows).map(|row| (0, row)).collect()),
            false => (vec![Block::new(1); rows], (0..rows).map(|row| (row, 0)).collect()),
        };
        Self { graph, spec, way, blocks, places }
    }

    /// Gives each row of a block its own if together they would need more slots than the context has: models may
    /// have tables of no more.
    fn separate(&mut self, feed: &[RowFeed]) -> Result<()> {
        let Some(context) = self.spec.context else { return Ok(()) };
        for block in 0..self.blocks.len() {
            let rows: Vec<_> = (0..self.places.len()).filter(|row| self.places[*row].0 == block).collect();
            let most = rows.iter().map(|row| feed[*row].tokens.len()).max().unwrap_or(0);
            let fits = self.blocks[block].longest() + most <= context;
            if fits || rows.len() < 2 {
                continue;
            }
            let alone = |row: &usize| self.blocks[block].select(&self.graph, &[self.places[*row].1]);
            let alone = rows.iter().map(alone).collect::<Result<Vec<_>>>()?;
            for (row, alone) in rows.into_iter().zip(alone) {
                self.places[row] = (self.blocks.len(), 0);
                self.blocks.push(alone);
            }
            self.blocks[block] = Block::new(0);
        }
        Ok(())
    }

    fn feed(&mut self, feed: &[RowFeed]) -> Result<Vec<Part<G>>> {
        let mut parts = Vec::new();
        for (index, block) in self.blocks.iter_mut().enumerate() {
            // In the order of the block's rows.
            let mut rows: Vec<_> = (0..feed.len()).filter(|row| self.places[*row].0 == index).collect();
            rows.sort_unstable_by_key(|row| self.places[*row].1);
            let feeds: Vec<_> = rows.iter().map(|row| &feed[*row]).collect();
            let mut fed = block.feed(&self.graph, self.way, &feeds)?;
            fed.iter_mut().flat_map(|part| &mut part.owners).for_each(|(row, _)| *row = rows[*row]);
            parts.extend(fed);
        }
        Ok(parts)
    }

    fn truncate(&mut self, lengths: &[usize]) {
        for ((block, row), length) in self.places.iter().zip(lengths) {
            self.blocks[*block].truncate(*row, *length);
        }
    }
}

impl<G: Graph> Session for CachedSession<G> {
    type Backend = G::Backend;

    fn rollback_limit(&self) -> Vec<usize> {
        self.places.iter().map(|(block, row)| self.blocks[*block].length(*row)).collect()
    }

    fn room(&self) -> Vec<usize> {
        let left = |length| self.spec.context.map_or(usize::MAX, |context| context - length);
        self.rollback_limit().into_iter().map(left).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<G::Backend>> {
        self.spec.check_feeds(feed, &self.room())?;
        let before = self.rollback_limit();
        self.separate(feed)?;
        // Caches are values: what a pass that failed left behind is as good as what was there before.
        let parts = self.feed(feed).inspect_err(|_| self.truncate(&before))?;
        scores(&*self.graph, parts, feed.len(), self.spec.vocab.width())
            .inspect_err(|_| self.truncate(&before))
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
        let (mut blocks, mut places) = (Vec::new(), vec![(0, 0); rows.len()]);
        for (index, block) in self.blocks.iter().enumerate() {
            let taken: Vec<_> = (0..rows.len()).filter(|row| self.places[rows[*row]].0 == index).collect();
            let within: Vec<_> = taken.iter().map(|row| self.places[rows[*row]].1).collect();
            if taken.is_empty() {
                continue;
            }
            if self.way.holes {
                taken.iter().enumerate().for_each(|(i, row)| places[*row] = (blocks.len(), i));
                blocks.push(block.select(&self.graph, &within)?);
            } else {
                // Forks of a row share its caches, which are values, and do not change.
                for row in taken {
                    places[row] = (blocks.len(), 0);
                    blocks.push(block.clone());
                }
            }
        }
        (self.blocks, self.places) = (blocks, places);
        Ok(())
    }
}
