use crate::backend::Edit;
use crate::{Result, TokenId};

/// Changes combined scores before a token is drawn: a penalty, a bias, a grammar.
///
/// A processor is a pure function of the tokens so far, which survives every rollback and fork: speculation and
/// search revisit positions. It never sees the scores, which stay on their device, but says what is to be done to
/// them. A grammar computes its set of allowed tokens from the history, and may keep a cache of its states inside.
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
    /// What is to be done to the scores of the next token, in order.
    ///
    /// # Errors
    /// Whatever keeps it from saying: generation ends with it.
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>>;

    /// The term whose prompt [`History::prompt`] holds; none unless a processor asks. Models of a combination
    /// render a prompt differently, so there is no one prompt.
    fn prompt_of(&self) -> Option<&str> {
        None
    }
}

/// What a processor may look at.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The tokens generated for this row.
    pub generated: &'a [TokenId],
    /// The token ids of the prompt, as the term of [`Processor::prompt_of`] renders it; empty if that is none.
    pub prompt: &'a [TokenId],
}

impl History<'_> {
    /// Prompt and generated tokens, one after another.
    pub fn tokens(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.prompt.iter().chain(self.generated).copied()
    }
}
