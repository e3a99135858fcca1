use std::collections::BTreeSet;

use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Forbids sequences of tokens: the last token of each, after the ones before it.
///
/// This is `bad_words_ids` of transformers. A word can be spelled by many sequences of tokens; to forbid the text however
/// it is spelled, use [`BadWords`](super::BadWords).
///
/// ```
/// use eft_core::sample::{ForbiddenSequences, History, Processor};
/// use eft_core::Edit;
///
/// let forbidden = ForbiddenSequences::new([vec![4], vec![1, 2, 3]])?;
/// let after = |tokens: &[u32]| forbidden.edits(&History::new(tokens));
/// assert_eq!(after(&[1])?, [Edit::Bias(vec![(4, f32::NEG_INFINITY)])]);
/// assert_eq!(after(&[1, 2])?, [Edit::Bias(vec![(3, f32::NEG_INFINITY), (4, f32::NEG_INFINITY)])]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbiddenSequences {
    sequences: Vec<Vec<TokenId>>,
    prompt_of: Option<String>,
}

impl ForbiddenSequences {
    /// Forbids these sequences.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if a sequence is empty.
    pub fn new<S: Into<Vec<TokenId>>>(sequences: impl IntoIterator<Item = S>) -> Result<Self> {
        let sequences: Vec<_> = sequences.into_iter().map(Into::into).collect();
        match sequences.iter().any(Vec::is_empty) {
            true => Err(Error::parameter("forbidden sequence", "empty", "at least one token")),
            false => Ok(Self { sequences, prompt_of: None }),
        }
    }

    /// Also counts sequences that begin in the prompt, as the term of this name renders it.
    #[must_use]
    pub fn with_prompt_of(mut self, term: impl Into<String>) -> Self {
        self.prompt_of = Some(term.into());
        self
    }
}

impl Processor for ForbiddenSequences {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let tokens: Vec<TokenId> = history.tokens().collect();
        let completed = self.sequences.iter().filter_map(|sequence| {
            let (last, before) = sequence.split_last()?;
            tokens.ends_with(before).then_some(*last)
        });
        Ok(super::forbid(completed.collect::<BTreeSet<_>>()))
    }

    fn prompt_of(&self) -> Option<&str> {
        self.prompt_of.as_deref()
    }
}
