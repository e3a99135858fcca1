//! [`TrafficCounter`]: a backend around another that counts the numbers copied between the device and the host.
//!
//! ```
//! use eft_core::conformance::{count_traffic, TrafficCounter};
//! use eft_core::{from_fn, Host, Sampling, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let model = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 1.0]));
//! let counter = TrafficCounter::new(Host);
//! let tokens = count_traffic(model, &counter).generate([0], Sampling::default())?.take(3).count();
//! assert_eq!(tokens, 3);
//! assert_eq!(counter.traffic().row_floats, 0);
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term};
use crate::{Draws, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session, Source, TokenId, Vocab};

/// A backend that works as `B` does, and counts the numbers that are copied. Clones share their counts. See the
/// [module](self) for an example.
#[derive(Debug, Clone)]
pub struct TrafficCounter<B> {
    inner: B,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    row_floats: AtomicUsize,
    numbers: AtomicUsize,
    sent: AtomicUsize,
}

/// How many numbers were copied since the counter was created or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Scores copied as parts of whole rows, in either direction; 0 in a decoding step.
    pub row_floats: usize,
    /// Numbers copied to the host because they were requested one by one: picks, log-probabilities, normalisers.
    pub numbers: usize,
    /// Numbers copied to the device: uniform numbers, token ids, words of masks.
    pub sent: usize,
}

/// A tensor of the counted backend. Only the counter can read it, so nothing is copied uncounted.
#[derive(Debug)]
pub struct CountedTensor<T>(T);

impl<B: Backend> TrafficCounter<B> {
    /// Wraps a backend, with all counts at zero.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// Returns the counts so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            row_floats: self.counters.row_floats.load(Ordering::Relaxed),
            numbers: self.counters.numbers.load(Ordering::Relaxed),
            sent: self.counters.sent.load(Ordering::Relaxed),
        }
    }

    /// Sets all counts to zero.
    pub fn reset(&self) {
        for counter in [&self.counters.row_floats, &self.counters.numbers, &self.counters.sent] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    fn count(counter: &AtomicUsize, by: usize) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

fn inner<'a, B: Backend>(rows: &[ScoreRow<'a, TrafficCounter<B>>]) -> Vec<ScoreRow<'a, B>> {
    rows.iter().map(|row| ScoreRow::new(&row.tensor.0, row.index)).collect()
}

fn inner_terms<'a, B: Backend>(terms: &[Term<'a, TrafficCounter<B>>]) -> Vec<Term<'a, B>> {
    terms.iter().map(|t| Term { weight: t.weight, rows: inner(&t.rows) }).collect()
}

impl<B: Backend> Backend for TrafficCounter<B> {
    type Tensor = CountedTensor<B::Tensor>;

    const NAME: &'static str = B::NAME;

    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize) {
        self.inner.shape(&tensor.0)
    }

    fn shallow_clone(&self, tensor: &Self::Tensor) -> Self::Tensor {
        CountedTensor(self.inner.shallow_clone(&tensor.0))
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Self::Tensor> {
        Self::count(&self.counters.row_floats, scores.len());
        self.inner.upload(scores, width).map(CountedTensor)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        Self::count(&self.counters.row_floats, rows.len() * width);
        self.inner.download(&inner(rows), width)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor> {
        Self::count(&self.counters.sent, terms.len());
        self.inner.linear(&inner_terms(terms), width).map(CountedTensor)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Self::Tensor> {
        self.inner.log_softmax(&inner(rows), width).map(CountedTensor)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor> {
        Self::count(&self.counters.sent, terms.len() + 1);
        self.inner.pool(&inner_terms(terms), pool, width).map(CountedTensor)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Self::Tensor> {
        Self::count(&self.counters.sent, 2);
        self.inner.clamp(&inner(rows), low, high, width).map(CountedTensor)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor> {
        Self::count(&self.counters.sent, 4);
        self.inner.filter(&inner(rows), filter, width).map(CountedTensor)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor> {
        let outside = outside.map(inner);
        self.inner.choose(&inner(kept), &inner(inside), outside.as_deref(), width).map(CountedTensor)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor> {
        let size = |edit: &Edit| match edit {
            Edit::Bias(biases) => 2 * biases.len(),
            Edit::Repetition { tokens, .. } => tokens.len() + 1,
            Edit::Allow(mask) => mask.words().len(),
        };
        Self::count(&self.counters.sent, edits.iter().flatten().map(size).sum());
        self.inner.edit(&inner(rows), edits, width).map(CountedTensor)
    }

    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor> {
        self.inner.residual(&inner(target), &inner(draft), width).map(CountedTensor)
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        Self::count(&self.counters.numbers, 2 * rows.len());
        self.inner.argmax(&inner(rows), width)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        Self::count(&self.counters.sent, uniforms.len());
        Self::count(&self.counters.numbers, 2 * rows.len());
        self.inner.draw(&inner(rows), uniforms, width)
    }

    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let asked = tokens.iter().map(Vec::len).sum();
        Self::count(&self.counters.sent, asked);
        Self::count(&self.counters.numbers, asked);
        self.inner.log_probs(&inner(rows), tokens, width)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        Self::count(&self.counters.numbers, 2 * k * rows.len());
        self.inner.top(&inner(rows), k, width)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        Self::count(&self.counters.numbers, rows.len());
        self.inner.log_normalizers(&inner(rows), width)
    }
}

/// Makes a source of the counted backend from one of `B`. Its tensors stay where they are.
pub fn count_traffic<B: Backend>(
    source: impl LogitSource<Backend = B> + 'static,
    counter: &TrafficCounter<B>,
) -> Source<TrafficCounter<B>> {
    Source::opaque(CountedSource { source, counter: counter.clone() })
}

struct CountedSource<S, B> {
    source: S,
    counter: TrafficCounter<B>,
}

impl<B: Backend, S: LogitSource<Backend = B>> LogitSource for CountedSource<S, B> {
    type Backend = TrafficCounter<B>;

    fn backend(&self) -> &TrafficCounter<B> {
        &self.counter
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.source.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<TrafficCounter<B>>> {
        let (session, scores) = self.source.open(prompts)?;
        Ok((Box::new(CountedSession(session)), scores.map(|t| Ok(CountedTensor(t)))?))
    }
}

struct CountedSession<B: Backend>(Box<dyn Session<Backend = B>>);

impl<B: Backend> Session for CountedSession<B> {
    type Backend = TrafficCounter<B>;

    fn rollback_limit(&self) -> Vec<usize> {
        self.0.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.0.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<TrafficCounter<B>>> {
        self.0.extend(feeds)?.map(|t| Ok(CountedTensor(t)))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.0.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.0.select(rows)
    }

    fn foresee(&mut self, draws: Draws<'_>) {
        self.0.foresee(draws);
    }
}
