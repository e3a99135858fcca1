use std::collections::BTreeMap;

use super::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Divides the positive scores of tokens that were generated, and multiplies the negative ones.
///
/// What it does depends on the sign of a score, so it acts on raw combined logits, as transformers does, where
/// every model gives those, and on log-probabilities else. Keskar et al. 2019, arXiv 1909.05858.
#[derive(Debug, Clone, PartialEq)]
pub struct RepetitionPenalty {
    penalty: f32,
    window: Option<usize>,
    prompt_of: Option<String>,
}

impl RepetitionPenalty {
    /// Above 1 makes repetition less likely, below 1 more; 1 does nothing.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless it is finite and above 0.
    pub fn new(penalty: f32) -> Result<Self> {
        if !(penalty.is_finite() && penalty > 0.0) {
            return Err(Error::parameter("repetition penalty", penalty, "a finite number above 0"));
        }
        Ok(Self { penalty, window: None, prompt_of: None })
    }

    /// Looks at the last `tokens` only.
    pub fn window(mut self, tokens: usize) -> Self {
        self.window = Some(tokens);
        self
    }

    /// Counts the tokens of the prompt, too, as the term of this name renders it.
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

/// Subtracts `penalty` from a token's score for each time it was generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrequencyPenalty {
    penalty: f32,
}

/// Subtracts `penalty` from the score of every token that was generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PresencePenalty {
    penalty: f32,
}

impl FrequencyPenalty {
    /// In nats for each time.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless it is finite.
    pub fn new(penalty: f32) -> Result<Self> {
        Ok(Self { penalty: finite("frequency penalty", penalty)? })
    }
}

impl PresencePenalty {
    /// In nats.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless it is finite.
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
