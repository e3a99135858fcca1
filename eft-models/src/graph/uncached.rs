//! [`UncachedSession`]: a session over a graph without caches, which is given all tokens in every pass.
use std::sync::Arc;

use eft_core::{EngineSpec, Result, RowFeed, Scores, Session, TokenId, check};

use super::interface::Graph;
use super::shared_cache::SharedCache;
use crate::pass_logits::{PassLogits, collect};

pub(super) struct UncachedSession<G: Graph> {
    graph: Arc<G>,
    spec: EngineSpec<G::Backend>,
    rows: Vec<Vec<TokenId>>,
}

impl<G: Graph> UncachedSession<G> {
    /// A session of `rows` empty rows.
    pub(super) fn new(graph: Arc<G>, spec: EngineSpec<G::Backend>, rows: usize) -> Self {
        Self { graph, spec, rows: vec![Vec::new(); rows] }
    }

    /// Runs the whole texts of the given rows in one pass, for the logits of the last `wanted` positions of each.
    fn forward(
        &self,
        rows: &[usize],
        texts: &[Vec<TokenId>],
        wanted: &[usize],
    ) -> Result<Option<PassLogits<G::Backend>>> {
        let fed: Vec<_> = rows.iter().map(|row| &texts[*row][..]).collect();
        let tokens = fed.iter().map(|fed| fed.len()).max().unwrap_or(0);
        let first = |row: usize| texts[row].len() - wanted[row];
        let keep = rows.iter().map(|row| tokens - first(*row)).max().unwrap_or(0);
        let output = SharedCache::new(rows.len()).forward(&*self.graph, &fed, keep)?;
        Ok(output.map(|(logits, kept)| {
            let owner = |i: usize, row: usize, position: usize| (row, i * kept + position + kept - tokens);
            let positions = |row: usize| first(row)..texts[row].len();
            let owners = rows.iter().enumerate();
            let owners = owners.flat_map(|(i, &row)| positions(row).map(move |p| owner(i, row, p))).collect();
            PassLogits { logits, owners }
        }))
    }
}

impl<G: Graph> Session for UncachedSession<G> {
    type Backend = G::Backend;

    fn rollback_limit(&self) -> Vec<usize> {
        self.rows.iter().map(Vec::len).collect()
    }

    fn room(&self) -> Vec<usize> {
        let left = |row: &Vec<TokenId>| self.spec.context.map_or(usize::MAX, |context| context - row.len());
        self.rows.iter().map(left).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<G::Backend>> {
        self.spec.check_feeds(feed, &self.room())?;
        let mut texts = self.rows.clone();
        texts.iter_mut().zip(feed).for_each(|(text, feed)| text.extend(&feed.tokens));
        let wanted: Vec<_> = feed.iter().map(|feed| feed.wanted).collect();
        let rows: Vec<_> = (0..texts.len()).filter(|row| wanted[*row] > 0).collect();
        let together = if self.graph.caps().one_row { 1 } else { rows.len().max(1) };
        let passes = rows.chunks(together).map(|rows| self.forward(rows, &texts, &wanted));
        let passes: Vec<_> = passes.filter_map(Result::transpose).collect::<Result<_>>()?;
        let scores = collect(self.graph.backend(), passes, texts.len(), self.spec.vocab.width())?;
        self.rows = texts;
        Ok(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rollback_limit())?;
        self.rows.iter_mut().zip(drop).for_each(|(row, drop)| row.truncate(row.len() - drop));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
