use std::collections::{BTreeMap, BTreeSet};

use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Makes a token less likely the longer the sequence of tokens that it would repeat ("don't repeat yourself").
///
/// If the text ends with `n` tokens that have occurred before, the token that followed them then gets a penalty of
/// `multiplier · base^(n − allowed)`, in nats, where `n` is at least `allowed`. Repetitions do not reach across
/// sequence breakers, such as the tokens of line breaks and quotation marks. As introduced in text-generation-webui
/// (pull request 5677 by P. E. Weidmann, 2024), where repetitions of at most 50 tokens are looked for.
///
/// ```
/// use eft_core::sample::{Dry, History, Processor};
/// use eft_core::Edit;
///
/// // After 1 2 3, which have occurred before, comes the token 4.
/// let edits = Dry::new(0.5)?.allowed(2).base(2.0)?.edits(&History::new(&[1, 2, 3, 4, 1, 2, 3]))?;
/// assert_eq!(edits, [Edit::Bias(vec![(4, -1.0)])]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    multiplier: f32,
    base: f32,
    allowed: usize,
    window: Option<usize>,
    breakers: BTreeSet<TokenId>,
    prompt_of: Option<String>,
}

/// The longest repetition that is looked for.
const LONGEST: usize = 50;

impl Dry {
    /// Creates the penalty with this multiplier, 0.8 in the original's example, a base of 1.75 and an allowed length of
    /// 2.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the multiplier is finite and not negative.
    pub fn new(multiplier: f32) -> Result<Self> {
        if !(multiplier.is_finite() && multiplier >= 0.0) {
            return Err(Error::parameter("DRY multiplier", multiplier, "a finite number, 0 or above"));
        }
        let breakers = BTreeSet::new();
        Ok(Self { multiplier, base: 1.75, allowed: 2, window: None, breakers, prompt_of: None })
    }

    /// Sets the base.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the base is finite and at least 1.
    pub fn base(mut self, base: f32) -> Result<Self> {
        if !(base.is_finite() && base >= 1.0) {
            return Err(Error::parameter("DRY base", base, "a finite number, 1 or above"));
        }
        self.base = base;
        Ok(self)
    }

    /// Sets the length of the longest repetition whose next token gets only the multiplier as a penalty. Shorter ones have
    /// no penalty.
    #[must_use]
    pub fn allowed(mut self, tokens: usize) -> Self {
        self.allowed = tokens.max(1);
        self
    }

    /// Counts only the last `tokens` tokens.
    #[must_use]
    pub fn window(mut self, tokens: usize) -> Self {
        self.window = Some(tokens);
        self
    }

    /// Sets the tokens that repetitions do not reach across.
    #[must_use]
    pub fn breakers(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.breakers = tokens.into_iter().collect();
        self
    }

    /// Also counts the tokens of the prompt, as the term of this name renders it.
    #[must_use]
    pub fn with_prompt_of(mut self, term: impl Into<String>) -> Self {
        self.prompt_of = Some(term.into());
        self
    }
}

impl Processor for Dry {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let all = history.prompt.len() + history.generated.len();
        let tokens: Vec<_> = history.tokens().skip(all.saturating_sub(self.window.unwrap_or(all))).collect();
        let mut longest: BTreeMap<TokenId, usize> = BTreeMap::new();
        // The token at `at` would be repeated by the next one, if the tokens before both are the same.
        for at in 1..tokens.len() {
            if self.breakers.contains(&tokens[at]) {
                continue;
            }
            let pairs = tokens[..at].iter().rev().zip(tokens.iter().rev()).take(LONGEST);
            let same = pairs.take_while(|(a, b)| a == b && !self.breakers.contains(a)).count();
            if same >= self.allowed {
                let known = longest.entry(tokens[at]).or_default();
                *known = same.max(*known);
            }
        }
        let penalty = |length: usize| self.multiplier * self.base.powi((length - self.allowed) as i32);
        // A large base may overflow: the token is then excluded.
        let biases: Vec<_> = longest.into_iter().map(|(token, length)| (token, -penalty(length))).collect();
        Ok(if biases.is_empty() { Vec::new() } else { vec![Edit::Bias(biases)] })
    }

    fn prompt_of(&self) -> Option<&str> {
        self.prompt_of.as_deref()
    }
}
