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
    /// Creates the set from a bitset of 32-bit words, as libraries for constrained decoding return it: the token
    /// `32·i + b` is in the set if bit `b` (0 is the lowest) of `words[i]` is set. Bits of ids from `width` upwards,
    /// with which such bitsets are padded, are ignored; ids past the last word are not in the set.
    ///
    /// ```
    /// use eft_core::TokenMask;
    ///
    /// let mask = TokenMask::from_u32_words(&[0b101, 0, 0xffff_ffff], 66);
    /// let allowed: Vec<u32> = (0..100).filter(|token| mask.contains(*token)).collect();
    /// assert_eq!(allowed, [0, 2, 64, 65]);
    /// ```
    pub fn from_u32_words(words: &[u32], width: usize) -> Self {
        let join = |pair: &[u32]| pair.iter().rev().fold(0, |word, half| word << 32 | u64::from(*half));
        Self::from_u64_words(words.chunks(2).map(join).collect(), width)
    }

    /// Creates the set from a bitset of 64-bit words: the same as [`from_u32_words`](Self::from_u32_words), with 64
    /// ids a word.
    ///
    /// ```
    /// use eft_core::TokenMask;
    ///
    /// assert_eq!(TokenMask::from_u64_words(vec![0b110, 0, 0], 128), TokenMask::from_iter([1, 2]));
    /// ```
    pub fn from_u64_words(mut words: Vec<u64>, width: usize) -> Self {
        words.truncate(width.div_ceil(64));
        if let Some(last) = words.get_mut(width / 64) {
            *last &= (1 << (width % 64)) - 1;
        }
        // Equal sets compare equal, so words of zeros at the end do not count.
        words.truncate(words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1));
        Self { words }
    }

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
