use std::collections::BTreeSet;

use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Forbids every token that would complete a sequence of tokens which has occurred before.
///
/// Paulus et al. 2017, arXiv 1705.04304, section 2.5, for any length.
///
/// ```
/// use eft_core::sample::{History, NoRepeatNgram, Processor};
/// use eft_core::Edit;
///
/// // After 1 2, a 3 would complete the sequence 1 2 3 again.
/// let edits = NoRepeatNgram::new(3)?.edits(&History::new(&[1, 2, 3, 1, 2]))?;
/// assert_eq!(edits, [Edit::Bias(vec![(3, f32::NEG_INFINITY)])]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRepeatNgram {
    length: usize,
    prompt_of: Option<String>,
}

impl NoRepeatNgram {
    /// Forbids repetitions of sequences of `length` tokens; with a length of 1, of any token.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if the length is 0.
    pub fn new(length: usize) -> Result<Self> {
        match length {
            0 => Err(Error::parameter("length of repeated sequences", 0, "at least 1")),
            _ => Ok(Self { length, prompt_of: None }),
        }
    }

    /// Also counts the tokens of the prompt, as the term of this name renders it.
    #[must_use]
    pub fn with_prompt_of(mut self, term: impl Into<String>) -> Self {
        self.prompt_of = Some(term.into());
        self
    }
}

impl Processor for NoRepeatNgram {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let tokens: Vec<TokenId> = history.tokens().collect();
        let begun = self.length - 1;
        if tokens.len() < begun {
            return Ok(Vec::new());
        }
        let last = &tokens[tokens.len() - begun..];
        let completes = tokens.windows(self.length).filter(|sequence| &sequence[..begun] == last);
        Ok(super::forbid(completes.map(|sequence| sequence[begun]).collect::<BTreeSet<_>>()))
    }

    fn prompt_of(&self) -> Option<&str> {
        self.prompt_of.as_deref()
    }
}
