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
//! its two terms: then one row is copied for each position instead of two. A bridged source is opaque; a single model that is
//! [`bridged`](Source::bridged) stays an engine, whose sessions rows can join.
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
use crate::source::{Leaf, Node};
use crate::{
    Engine, EngineRow, EngineSpec, Error, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Source, Vocab,
};

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

/// An engine whose scores are copied to another backend.
struct BridgedEngine<A: Backend, B: Backend> {
    engine: Arc<dyn Engine<Backend = A>>,
    spec: EngineSpec<B>,
}

impl<A: Backend, B: Backend> BridgedEngine<A, B> {
    fn new(engine: Arc<dyn Engine<Backend = A>>, backend: B) -> Self {
        let EngineSpec { name, vocab, context, bytes, adapters, .. } = engine.spec();
        let mut spec = EngineSpec::new(name, backend, vocab.clone()).bytes(*bytes).adapters(adapters);
        spec.context = *context;
        Self { engine, spec }
    }
}

impl<A: Backend, B: Backend> Engine for BridgedEngine<A, B> {
    type Backend = B;

    fn spec(&self) -> &EngineSpec<B> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<B>> {
        copied(self.engine.open(rows)?, &self.engine.spec().backend, &self.spec.backend)
    }
}

/// A session whose scores are copied to another backend.
fn copied<A: Backend, B: Backend>((session, scores): Opened<A>, from: &A, to: &B) -> Result<Opened<B>> {
    let copy = Copy { from: from.clone(), to: to.clone() };
    let scores = copy.scores(scores)?;
    Ok((Box::new(Derived::new(session, copy)), scores))
}

impl<B: Backend> Source<B> {
    /// Returns a single model with its scores copied to another backend through the host, under the same name, adapter and
    /// prompt transforms. Unlike a source made by [`bridge`](bridge()), it is an engine: other rows can join its
    /// sessions, and sources that are made of it, such as [adapters](Self::adapter), share its passes.
    ///
    /// ```
    /// use eft_core::conformance::TrafficCounter;
    /// use eft_core::{from_fn, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// // A backend of another type, here one that counts what is copied.
    /// let counter = TrafficCounter::new(Host);
    /// let large = from_fn(counter.clone(), vocab.clone(), |_| Ok(vec![0.0, 1.0])).named("large");
    /// let tuned = from_fn(Host, vocab, |_| Ok(vec![3.0, 0.0])).named("tuned");
    /// let sum = large + tuned.bridged(counter)?;
    /// assert_eq!(sum.to_string(), "large + tuned");
    /// assert_eq!(sum.generate([0], Sampling::greedy())?.next().unwrap()?.id, 0);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the source is a combination or opaque.
    pub fn bridged<C: Backend>(&self, backend: C) -> Result<Source<C>> {
        let (mut transforms, mut source) = (Vec::new(), self);
        while let Node::Under(transform, inner) = source.node() {
            transforms.push(transform);
            source = inner;
        }
        let Node::Leaf(leaf) = source.node() else {
            let what = "a bridge as an engine: it is not a single model of token ids".into();
            return Err(Error::Unsupported { who: self.name(), what });
        };
        let bridged = Leaf {
            engine: Arc::new(BridgedEngine::new(leaf.engine.clone(), backend)),
            adapter: leaf.adapter,
            base: leaf.base.clone(),
            renderer: leaf.renderer.clone(),
        };
        let bridged = Source::of_leaf(bridged);
        let bridged = match source.given_name() {
            Some(name) => bridged.named(name),
            None => bridged,
        };
        Ok(transforms.into_iter().rev().fold(bridged, |source, transform| source.under(transform.clone())))
    }
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
        copied(self.source.open(prompts)?, self.source.backend(), &self.backend)
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
