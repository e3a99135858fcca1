//! Fault injection: code that fails at a chosen step, to test that a failure leaves nothing half done.
//!
//! ```
//! use eft_core::conformance::{FaultInjector, FaultyBackend, SourceTest, check_source};
//! use eft_core::{Host, Vocab, from_fn};
//!
//! // The model may fail by itself, and so may each operation of its backend.
//! let injector = FaultInjector::new();
//! let backend = FaultyBackend::new(Host, &injector);
//! let model = injector.clone();
//! let source = from_fn(backend, Vocab::new("ab", ["a", "b"])?, move |tokens| {
//!     model.step()?;
//!     Ok(vec![tokens.len() as f32 % 3.0, 0.5])
//! });
//! check_source(&source, &SourceTest::new([vec![0], vec![1, 0, 1]]).faults(&injector))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term};
use crate::{Error, Result, TokenId};

/// Makes one step of the code under test fail. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct FaultInjector {
    /// How many more steps succeed; `None` if no step is to fail.
    left: Arc<Mutex<Option<usize>>>,
}

impl FaultInjector {
    /// Creates an injector under which every step succeeds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `steps` more steps succeed and makes the one after them fail, once.
    ///
    /// ```
    /// let injector = eft_core::conformance::FaultInjector::new();
    /// injector.fail_after(1);
    /// assert!(injector.step().is_ok());
    /// assert!(injector.step().is_err());
    /// assert!(injector.step().is_ok());
    /// ```
    pub fn fail_after(&self, steps: usize) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(steps);
    }

    /// Counts one step, and fails if this is the step that should fail. The code under test calls it wherever it may
    /// fail.
    ///
    /// # Errors
    /// [`Error::Source`] if this is the step that should fail.
    pub fn step(&self) -> Result<()> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match *left {
            Some(0) => {
                *left = None;
                Err(Error::source("fault injector", "a failure on purpose"))
            }
            Some(steps) => {
                *left = Some(steps - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Cancels the failure. Returns how many more steps would have succeeded before it; `None` if it has occurred.
    pub(super) fn disarm(&self) -> Option<usize> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A backend around another, each of whose operations is a step of a [`FaultInjector`].
#[derive(Debug, Clone)]
pub struct FaultyBackend<B> {
    inner: B,
    injector: FaultInjector,
}

impl<B: Backend> FaultyBackend<B> {
    /// Wraps a backend.
    #[must_use]
    pub fn new(inner: B, injector: &FaultInjector) -> Self {
        Self { inner, injector: injector.clone() }
    }
}

fn inner<'a, B: Backend>(rows: &[ScoreRow<'a, FaultyBackend<B>>]) -> Vec<ScoreRow<'a, B>> {
    rows.iter().map(|row| ScoreRow::new(row.tensor, row.index)).collect()
}

fn inner_terms<'a, B: Backend>(terms: &[Term<'a, FaultyBackend<B>>]) -> Vec<Term<'a, B>> {
    terms.iter().map(|t| Term { weight: t.weight, rows: inner(&t.rows) }).collect()
}

impl<B: Backend> Backend for FaultyBackend<B> {
    type Tensor = B::Tensor;

    const NAME: &'static str = B::NAME;

    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize) {
        self.inner.shape(tensor)
    }

    fn shallow_clone(&self, tensor: &Self::Tensor) -> Self::Tensor {
        self.inner.shallow_clone(tensor)
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.upload(scores, width)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        self.injector.step()?;
        self.inner.download(&inner(rows), width)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.linear(&inner_terms(terms), width)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.log_softmax(&inner(rows), width)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.pool(&inner_terms(terms), pool, width)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.clamp(&inner(rows), low, high, width)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.filter(&inner(rows), filter, width)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor> {
        self.injector.step()?;
        let outside = outside.map(inner);
        self.inner.choose(&inner(kept), &inner(inside), outside.as_deref(), width)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.edit(&inner(rows), edits, width)
    }

    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor> {
        self.injector.step()?;
        self.inner.residual(&inner(target), &inner(draft), width)
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        self.injector.step()?;
        self.inner.argmax(&inner(rows), width)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        self.injector.step()?;
        self.inner.draw(&inner(rows), uniforms, width)
    }

    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        self.injector.step()?;
        self.inner.log_probs(&inner(rows), tokens, width)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        self.injector.step()?;
        self.inner.top(&inner(rows), k, width)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        self.injector.step()?;
        self.inner.log_normalizers(&inner(rows), width)
    }
}
