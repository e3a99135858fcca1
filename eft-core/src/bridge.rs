//! [`bridge`]: a source of one tensor library as a source of another.
//!
//! That tensors of two libraries do not mix is a compile error:
//!
//! ```compile_fail,E0308
//! use eft_core::{Backend, Source};
//!
//! fn mix<A: Backend, B: Backend>(candle: &Source<A>, torch: &Source<B>) -> Source<A> {
//!     candle + torch
//! }
//! ```
//!
//! A bridge makes the crossing explicit. Bridge `tuned − untuned` as one source, and one row crosses, not two:
//!
//! ```
//! use eft_core::{bridge, Backend, Source};
//!
//! fn mix<A: Backend, B: Backend>(large: &Source<A>, tuned: &Source<B>, untuned: &Source<B>) -> Source<A> {
//!     large + bridge(tuned - untuned, large.backend().clone())
//! }
//! ```
use std::sync::Arc;

use crate::backend::Backend;
use crate::scores::consecutive;
use crate::{LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session, Source, Vocab};

/// Brings every row of scores that `source` gives to `backend`, by way of the host.
pub fn bridge<B: Backend>(source: impl LogitSource + 'static, backend: B) -> Source<B> {
    Source::opaque(Bridge { source, backend })
}

struct Bridge<S, B> {
    source: S,
    backend: B,
}

impl<S: LogitSource, B: Backend> LogitSource for Bridge<S, B> {
    type Backend = B;

    fn backend(&self) -> &B {
        &self.backend
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.source.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        let (session, scores) = self.source.open(prompts)?;
        let session =
            BridgeSession { session, from: self.source.backend().clone(), to: self.backend.clone() };
        let scores = session.carry(scores)?;
        Ok((Box::new(session), scores))
    }
}

struct BridgeSession<A: Backend, B> {
    session: Box<dyn Session<Backend = A>>,
    from: A,
    to: B,
}

impl<A: Backend, B: Backend> BridgeSession<A, B> {
    fn carry(&self, scores: Scores<A>) -> Result<Scores<B>> {
        let (width, form) = (scores.width(), scores.form());
        let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
        if rows.is_empty() {
            return Ok(Scores::none(scores.rows(), width, form));
        }
        let tensor = self.to.upload(&self.from.download(&rows, width)?, width)?;
        let spans = consecutive(scores.spans().iter().map(ExactSizeIterator::len));
        Ok(Scores::new(tensor, spans, width, form))
    }
}

impl<A: Backend, B: Backend> Session for BridgeSession<A, B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.session.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.session.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        let scores = self.session.extend(feed)?;
        self.carry(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.session.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.session.select(rows)
    }
}
