use super::uniform::RowId;
use crate::backend::Edit;
use crate::{Result, TokenId};

/// Changes the combined scores before a token is drawn: a penalty, a bias, a grammar.
///
/// A processor is a pure function of the tokens so far, because speculation and search visit positions again after
/// rollbacks and forks. It never sees the scores, which stay on their device; it returns the [`Edit`]s that the backend
/// applies to them. A grammar computes its set of allowed tokens from the history, and may cache its states inside.
///
/// ```
/// use eft_core::sample::{History, Processor};
/// use eft_core::{Edit, Result};
///
/// /// Forbids token 0 until five tokens have been generated.
/// struct AtLeastFive;
///
/// impl Processor for AtLeastFive {
///     fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
///         let early = history.generated.len() < 5;
///         Ok(if early { vec![Edit::Bias(vec![(0, f32::NEG_INFINITY)])] } else { vec![] })
///     }
/// }
/// ```
pub trait Processor: Send + Sync {
    /// Returns the edits of the scores of the next token, in the order in which they are applied.
    ///
    /// # Errors
    /// Any error of the processor's own; generation ends with it.
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>>;

    /// Returns the tokens that come next whatever the scores are: at each of them, [`edits`](Self::edits) after the tokens
    /// before it allow no other. None by default.
    ///
    /// Plain decoding then reads all of them, and chooses the token after them, in a single pass of each model. That saves
    /// passes and changes no text. Whatever calls only `edits` gets the same tokens one by one.
    ///
    /// # Errors
    /// Any error of the processor's own; generation ends with it.
    fn forced(&self, history: &History<'_>) -> Result<Vec<TokenId>> {
        let _ = history;
        Ok(Vec::new())
    }

    /// Returns the name of the term whose prompt the processor wants in [`History::prompt`]; `None`, the default,
    /// leaves that empty. No prompt is common to all terms, since the models of a combination may render it
    /// differently.
    fn prompt_of(&self) -> Option<&str> {
        None
    }
}

/// The tokens and the identity of a row, as a [`Processor`] sees them.
///
/// ```
/// use eft_core::sample::{History, Processor, RepetitionPenalty};
///
/// let penalty = RepetitionPenalty::new(1.2)?;
/// assert_eq!(penalty.edits(&History::new(&[3, 1, 3]))?.len(), 1);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct History<'a> {
    /// The tokens generated for this row.
    pub generated: &'a [TokenId],
    /// The token ids of the prompt, as the term named by [`Processor::prompt_of`] renders it; empty if that is `None`.
    pub prompt: &'a [TokenId],
    /// The identity of the row: which request, and which of its samples.
    pub row: RowId,
}

impl<'a> History<'a> {
    /// Creates the history of a row with these generated tokens, no prompt, and the id 0.
    pub fn new(generated: &'a [TokenId]) -> Self {
        Self { generated, prompt: &[], row: RowId::default() }
    }

    /// Sets the token ids of the prompt.
    #[must_use]
    pub fn with_prompt(self, prompt: &'a [TokenId]) -> Self {
        Self { prompt, ..self }
    }

    /// Sets the identity of the row.
    #[must_use]
    pub fn with_row(self, row: impl Into<RowId>) -> Self {
        Self { row: row.into(), ..self }
    }

    /// Iterates over the prompt's tokens, then the generated ones.
    pub fn tokens(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.prompt.iter().chain(self.generated).copied()
    }
}
