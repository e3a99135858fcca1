use std::sync::Arc;

use super::Continuation;
use crate::{Prompt, Result, Vocab};

/// A scoring of continuations: an [`ImplicitReward`](super::ImplicitReward), or any function of the prompt and the
/// continuation.
///
/// ```
/// use eft_core::search::{ChunkBeamSearch, Continuation};
/// use eft_core::{from_fn, Host, Prompt, Vocab};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 0.0]));
/// let shorter_is_better = |_: &Prompt, text: &Continuation| Ok(-(text.tokens.len() as f64));
/// let result = ChunkBeamSearch::new(&model, shorter_is_better).max_tokens(10).run([0])?;
/// assert_eq!(result.best().score, -10.0); // this model has no end-of-sequence token
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait Guide: Send + Sync {
    /// Starts a session with one row, whose continuation is empty. `vocab` is the vocabulary of the base's tokens, or
    /// `None` if the base returns only text.
    ///
    /// # Errors
    /// * [`Error::Unsupported`](crate::Error::Unsupported) if the guide cannot score texts of this base.
    /// * Any error of the guide's models.
    fn open(&self, prompt: &Prompt, vocab: Option<&Arc<Vocab>>) -> Result<Box<dyn GuideSession + '_>>;
}

/// A guide's state for a batch of continuations of one prompt.
///
/// ```
/// use eft_core::Prompt;
/// use eft_core::search::{Continuation, Guide};
///
/// let length = |_: &Prompt, text: &Continuation| Ok(text.text.len() as f64);
/// let guide: &dyn Guide = &length;
/// let mut session = guide.open(&"Hi".into(), None)?;
/// session.select(&[0, 0])?; // two rows with the same continuation
/// let (mut short, mut long) = (Continuation::default(), Continuation::default());
/// short.text = b" there".to_vec();
/// long.text = b" there, reader".to_vec();
/// assert_eq!(session.score(&[&short, &long])?, [Some(6.0), Some(14.0)]);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait GuideSession: Send {
    /// Returns the score of each row's whole continuation; higher is better. `None` if a continuation is too long for
    /// the guide's context: it ends where it was last scored.
    ///
    /// From call to call, the text of a row only grows.
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a continuation for each row.
    /// * Any error of the guide's models.
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<Option<f64>>>;

    /// Replaces the rows: row `i` becomes a copy of row `rows[i]`.
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`](crate::Error::EmptyBatch) if `rows` is empty.
    /// * [`Error::RowOutOfRange`](crate::Error::RowOutOfRange) if an index is out of range.
    /// * Any error of the guide's models.
    fn select(&mut self, rows: &[usize]) -> Result<()>;

    /// Returns how many more of the base's tokens fit into the guide's context in every row; `usize::MAX` if there is
    /// no limit, or if it is not known. No chunk will be longer.
    fn room(&self) -> usize {
        usize::MAX
    }
}

impl<F: Fn(&Prompt, &Continuation) -> Result<f64> + Send + Sync> Guide for F {
    fn open(&self, prompt: &Prompt, _: Option<&Arc<Vocab>>) -> Result<Box<dyn GuideSession + '_>> {
        Ok(Box::new(FunctionSession { function: self, prompt: prompt.clone() }))
    }
}

/// A function of the whole continuation has no state between chunks.
struct FunctionSession<'a, F> {
    function: &'a F,
    prompt: Prompt,
}

impl<F: Fn(&Prompt, &Continuation) -> Result<f64> + Send + Sync> GuideSession for FunctionSession<'_, F> {
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<Option<f64>>> {
        rows.iter().map(|row| (self.function)(&self.prompt, row).map(Some)).collect()
    }

    fn select(&mut self, _: &[usize]) -> Result<()> {
        Ok(())
    }
}
