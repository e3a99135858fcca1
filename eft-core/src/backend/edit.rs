use std::sync::Arc;

use crate::TokenId;

/// A change of one row of scores: what a [`Processor`](crate::sample::Processor) asks of the backend.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds to the scores of the named tokens; −∞ forbids one. A token named twice is added to twice.
    Bias(Vec<(TokenId, f32)>),
    /// Divides positive scores by `penalty` and multiplies negative ones, once for each distinct token.
    Repetition {
        /// The tokens to be made less likely, without doubles.
        tokens: Vec<TokenId>,
        /// Above zero; above one makes them less likely.
        penalty: f32,
    },
    /// Excludes every token outside the mask.
    Allow(Arc<TokenMask>),
}

/// A set of token ids, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenMask {
    words: Vec<u64>,
}

impl TokenMask {
    /// Whether the set holds `token`.
    pub fn contains(&self, token: TokenId) -> bool {
        self.words.get(token as usize / 64).is_some_and(|w| w >> (token % 64) & 1 == 1)
    }

    /// The bits, 64 ids a word, lowest id in the lowest bit; ids past the last word are not in the set.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl FromIterator<TokenId> for TokenMask {
    fn from_iter<I: IntoIterator<Item = TokenId>>(tokens: I) -> Self {
        let mut words = Vec::new();
        for token in tokens {
            let word = token as usize / 64;
            if word >= words.len() {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (token % 64);
        }
        Self { words }
    }
}
