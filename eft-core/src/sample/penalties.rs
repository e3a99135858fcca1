use std::collections::BTreeMap;

use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Divides the positive scores of the tokens generated so far by a penalty, and multiplies the negative ones by it.
///
/// The effect depends on the sign of a score. As in transformers, the penalty acts on raw logits; it acts on
/// log-probabilities where a model gives no logits. Keskar et al. 2019, arXiv 1909.05858.
///
/// ```
/// use eft_core::sample::RepetitionPenalty;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 2.0, 1.5]));
/// let decoding = Decoding::from(Sampling::greedy()).max_tokens(2).processor(RepetitionPenalty::new(2.0)?);
/// let ids: Vec<_> = model.generate([0], decoding)?.map(|token| token.unwrap().id).collect();
/// assert_eq!(ids, [1, 2]); // 2.0 / 2 < 1.5
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RepetitionPenalty {
    penalty: f32,
    window: Option<usize>,
    prompt_of: Option<String>,
}

impl RepetitionPenalty {
    /// Creates the penalty. A number above 1 makes repetition less likely, a number below 1 more likely; 1 has no
    /// effect.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the penalty is finite and above 0.
    pub fn new(penalty: f32) -> Result<Self> {
        if !(penalty.is_finite() && penalty > 0.0) {
            return Err(Error::parameter("repetition penalty", penalty, "a finite number above 0"));
        }
        Ok(Self { penalty, window: None, prompt_of: None })
    }

    /// Counts only the last `tokens` tokens.
    #[must_use]
    pub fn window(mut self, tokens: usize) -> Self {
        self.window = Some(tokens);
        self
    }

    /// Also counts the tokens of the prompt, as the term of this name renders it.
    #[must_use]
    pub fn with_prompt_of(mut self, term: impl Into<String>) -> Self {
        self.prompt_of = Some(term.into());
        self
    }
}

impl Processor for RepetitionPenalty {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let all = history.prompt.len() + history.generated.len();
        let recent = history.tokens().skip(all.saturating_sub(self.window.unwrap_or(all)));
        let mut tokens: Vec<_> = recent.collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(vec![Edit::Repetition { tokens, penalty: self.penalty }])
    }

    fn prompt_of(&self) -> Option<&str> {
        self.prompt_of.as_deref()
    }
}

/// Subtracts a penalty from the score of a token for each time it has been generated.
///
/// ```
/// use eft_core::sample::{FrequencyPenalty, History, Processor};
/// use eft_core::Edit;
///
/// let edits = FrequencyPenalty::new(0.5)?.edits(&History::new(&[4, 4, 2]))?;
/// assert_eq!(edits, [Edit::Bias(vec![(2, -0.5), (4, -1.0)])]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrequencyPenalty {
    penalty: f32,
}

/// Subtracts a penalty from the score of every token that has been generated, however often.
///
/// ```
/// use eft_core::sample::{History, PresencePenalty, Processor};
/// use eft_core::Edit;
///
/// let edits = PresencePenalty::new(0.5)?.edits(&History::new(&[4, 4, 2]))?;
/// assert_eq!(edits, [Edit::Bias(vec![(2, -0.5), (4, -0.5)])]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PresencePenalty {
    penalty: f32,
}

impl FrequencyPenalty {
    /// Creates the penalty, in nats for each time. A negative one makes repetition more likely.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the penalty is finite.
    pub fn new(penalty: f32) -> Result<Self> {
        Ok(Self { penalty: finite("frequency penalty", penalty)? })
    }
}

impl PresencePenalty {
    /// Creates the penalty, in nats. A negative one makes repetition more likely.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the penalty is finite.
    pub fn new(penalty: f32) -> Result<Self> {
        Ok(Self { penalty: finite("presence penalty", penalty)? })
    }
}

fn finite(name: &'static str, penalty: f32) -> Result<f32> {
    if penalty.is_finite() { Ok(penalty) } else { Err(Error::parameter(name, penalty, "a finite number")) }
}

impl Processor for FrequencyPenalty {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let counts = counts(history.generated).into_iter();
        Ok(vec![Edit::Bias(counts.map(|(token, count)| (token, -self.penalty * count as f32)).collect())])
    }
}

impl Processor for PresencePenalty {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let present = counts(history.generated).into_keys();
        Ok(vec![Edit::Bias(present.map(|token| (token, -self.penalty)).collect())])
    }
}

fn counts(tokens: &[TokenId]) -> BTreeMap<TokenId, usize> {
    let mut counts = BTreeMap::new();
    for token in tokens {
        *counts.entry(*token).or_insert(0) += 1;
    }
    counts
}
