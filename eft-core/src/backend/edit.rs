use std::sync::Arc;

use crate::TokenId;

/// A change of one score row, requested by a [`Processor`](crate::sample::Processor).
///
/// ```
/// use eft_core::backend::score_rows;
/// use eft_core::{Backend, Edit, Host, TokenMask};
///
/// let scores = Host.upload(&[1.0, 2.0, 3.0], 3)?;
/// let edits = [Edit::Bias(vec![(0, 5.0)]), Edit::Allow(TokenMask::from_iter([0, 1]).into())];
/// let edited = Host.edit(&score_rows(&scores, 1), &[edits.to_vec()], 3)?;
/// assert_eq!(Host.download(&score_rows(&edited, 1), 3)?, [6.0, 2.0, f32::NEG_INFINITY]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds a bias to the score of each named token; −∞ excludes the token. A bias is finite or −∞. If a token is named
    /// twice, both biases are added.
    Bias(Vec<(TokenId, f32)>),
    /// Divides the positive scores of the named tokens by `penalty` and multiplies the others by it, once for each
    /// distinct token: the repetition penalty of Keskar et al. 2019, arXiv 1909.05858.
    Repetition {
        /// The tokens that are penalised.
        tokens: Vec<TokenId>,
        /// A finite number above zero. Above one, the tokens become less likely.
        penalty: f32,
    },
    /// Excludes every token that is not in the mask.
    Allow(Arc<TokenMask>),
}

/// A set of token ids, stored with one bit for each.
///
/// ```
/// use eft_core::TokenMask;
///
/// let mask: TokenMask = [1, 70].into_iter().collect();
/// assert!(mask.contains(70) && !mask.contains(0));
/// ```
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

    /// Returns whether `token` is in the set.
    pub fn contains(&self, token: TokenId) -> bool {
        self.words.get(token as usize / 64).is_some_and(|w| w >> (token % 64) & 1 == 1)
    }

    /// Returns the bits, 64 ids in each word, the lowest id in the lowest bit. Ids past the last word are not in the
    /// set.
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
