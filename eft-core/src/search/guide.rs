use std::sync::Arc;

use super::Continuation;
use crate::{Prompt, Result, Vocab};

/// What judges continuations: an [`ImplicitReward`](super::ImplicitReward), or any function of prompt and
/// continuation.
pub trait Guide: Send + Sync {
    /// One row at the end of the prompt. `vocab` is what the base's tokens stand for; `None` if it tells text only.
    ///
    /// # Errors
    /// Failures of the models behind it, and whatever keeps it from judging texts of this base.
    fn open(&self, prompt: &Prompt, vocab: Option<&Arc<Vocab>>) -> Result<Box<dyn Judge + '_>>;
}

/// Rows that are being judged.
pub trait Judge: Send {
    /// The score of each row's whole continuation, which begins with the one that it was last called with. Higher is
    /// better.
    ///
    /// # Errors
    /// Failures of the models behind it.
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<f64>>;

    /// Makes row `i` what row `rows[i]` was.
    ///
    /// # Errors
    /// [`Error::RowOutOfRange`](crate::Error::RowOutOfRange), [`Error::EmptyBatch`](crate::Error::EmptyBatch), and
    /// failures of the models behind it.
    fn select(&mut self, rows: &[usize]) -> Result<()>;

    /// How many more of the base's tokens every row has room for; `usize::MAX` without a limit.
    fn room(&self) -> usize {
        usize::MAX
    }
}

impl<F: Fn(&Prompt, &Continuation) -> Result<f64> + Send + Sync> Guide for F {
    fn open(&self, prompt: &Prompt, _: Option<&Arc<Vocab>>) -> Result<Box<dyn Judge + '_>> {
        Ok(Box::new(Function { f: self, prompt: prompt.clone() }))
    }
}

/// A function has nothing to keep between chunks.
struct Function<'a, F> {
    f: &'a F,
    prompt: Prompt,
}

impl<F: Fn(&Prompt, &Continuation) -> Result<f64> + Send + Sync> Judge for Function<'_, F> {
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<f64>> {
        rows.iter().map(|row| (self.f)(&self.prompt, row)).collect()
    }

    fn select(&mut self, _: &[usize]) -> Result<()> {
        Ok(())
    }
}
