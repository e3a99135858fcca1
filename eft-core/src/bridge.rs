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
use std::borrow::Cow;
use std::sync::Arc;

use crate::backend::Backend;
use crate::derived::{Derived, Translate};
use crate::scores::consecutive;
use crate::{LogitSource, Opened, Prompt, Result, RowFeed, Scores, Source, Vocab};

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
        let copy = Copy { from: self.source.backend().clone(), to: self.backend.clone() };
        let scores = copy.scores(scores)?;
        Ok((Box::new(Derived::new(session, copy)), scores))
    }
}

/// Copies scores from one backend to another.
struct Copy<A, B> {
    from: A,
    to: B,
}

impl<A: Backend, B: Backend> Translate for Copy<A, B> {
    type From = A;
    type To = B;

    fn feeds<'a>(&self, feeds: &'a [RowFeed], _: &[usize]) -> Result<Cow<'a, [RowFeed]>> {
        Ok(feeds.into())
    }

    fn scores(&self, scores: Scores<A>) -> Result<Scores<B>> {
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
