//! [`bridge`]: makes a source of one tensor library a source of another.
//!
//! Mixing the tensors of two libraries is a compile error:
//!
//! ```compile_fail,E0308
//! use eft_core::{Backend, Source};
//!
//! fn mix<A: Backend, B: Backend>(candle: &Source<A>, torch: &Source<B>) -> Source<A> {
//!     candle + torch
//! }
//! ```
//!
//! A bridge makes the crossing explicit. It copies every score row through the host, so bridge a difference rather than
//! its two terms: then one row is copied for each position instead of two.
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
use crate::error::with_sources;
use crate::scores::consecutive;
use crate::{Error, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session, Source, Vocab};

/// Makes a source whose scores are those of `source`, copied to `backend` through the host.
///
/// ```
/// use eft_core::conformance::TrafficCounter;
/// use eft_core::{bridge, from_fn, Host, Sampling, Vocab};
///
/// // A backend of another type, here one that counts what is copied.
/// let counter = TrafficCounter::new(Host);
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// let bridged = bridge(model, counter.clone());
/// assert_eq!(bridged.generate([0], Sampling::greedy())?.next().unwrap()?.id, 1);
/// assert_eq!(counter.traffic().row_floats, 2);
/// # Ok::<(), eft_core::Error>(())
/// ```
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
        let (from, to) = (self.source.backend().clone(), self.backend.clone());
        let session = BridgeSession { session, from, to, poison: None };
        let scores = session.copy(scores)?;
        Ok((Box::new(session), scores))
    }
}

struct BridgeSession<A: Backend, B> {
    session: Box<dyn Session<Backend = A>>,
    from: A,
    to: B,
    /// The failure after which the inner session holds tokens that the caller has not fed successfully.
    poison: Option<String>,
}

impl<A: Backend, B: Backend> BridgeSession<A, B> {
    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Copies scores to the other backend.
    fn copy(&self, scores: Scores<A>) -> Result<Scores<B>> {
        let (width, form) = (scores.width(), scores.form());
        let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
        if rows.is_empty() {
            return Ok(Scores::none(scores.rows(), width, form));
        }
        let tensor = self.to.upload(&self.from.download(&rows, width)?, width)?;
        let spans = consecutive(scores.spans().iter().map(ExactSizeIterator::len));
        let coverage: Option<_> = rows.iter().map(|row| scores.coverage_at(row.index)).collect();
        Ok(Scores::new(tensor, spans, width, form).with_coverage(coverage.unwrap_or_default()))
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

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        self.healthy()?;
        let scores = self.session.extend(feeds)?;
        self.copy(scores).inspect_err(|error| {
            // The inner session has taken the tokens: the call must be undone, or a retry would feed them twice.
            let fed: Vec<_> = feeds.iter().map(|feed| feed.tokens.len()).collect();
            if let Err(undo) = self.session.rollback(&fed) {
                self.poison = Some(format!(
                    "{}; then undoing the call failed: {}",
                    with_sources(error),
                    with_sources(&undo)
                ));
            }
        })
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        self.session.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        self.session.select(rows)
    }
}
