//! [`Tokens`]: the bytes of a vocabulary's tokens, and their hash.
use std::sync::Arc;

/// The bytes of the tokens, as far as known.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Tokens {
    /// The bytes of each token by its id; `None` if the id has no token.
    Known(Listed),
    /// Only the number of tokens.
    Anonymous(usize),
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Known(tokens) => tokens.count,
            Self::Anonymous(size) => *size,
        }
    }

    /// The first tokens.
    pub(super) fn cut(&self, count: usize) -> Self {
        match self {
            Self::Known(tokens) => Self::Known(Listed { count: tokens.count.min(count), ..tokens.clone() }),
            Self::Anonymous(_) => Self::Anonymous(count),
        }
    }

    /// Hashes the tokens by FNV-1a of 128 bits: each token's bytes after their number plus one, and 0 for an id without
    /// a token.
    pub(super) fn fingerprint(&self) -> u128 {
        match self {
            Self::Known(tokens) => tokens.iter().fold(OFFSET, |hash, token| match token {
                // With the length before the bytes, no two lists of tokens give the same bytes.
                Some(bytes) => add(number(hash, bytes.len() as u64 + 1), bytes),
                None => number(hash, 0),
            }),
            Self::Anonymous(size) => number(OFFSET, *size as u64),
        }
    }
}

/// Tokens with known bytes. Clones and their first tokens share the bytes, since a vocabulary takes megabytes.
#[derive(Clone)]
pub(super) struct Listed {
    all: Arc<List>,
    /// How many tokens of the list these are.
    count: usize,
}

/// The bytes of all tokens, one after another: a vector for each token would take several times the memory of the few
/// bytes that it has.
struct List {
    bytes: Box<[u8]>,
    /// Where the bytes of each token end, with [`NO_TOKEN`] added for an id without a token.
    ends: Box<[u32]>,
}

/// The bit that marks an id without a token.
const NO_TOKEN: u32 = 1 << 31;

impl Listed {
    /// Collects the tokens; `None` if they have 2³¹ bytes or more. Ids past the last real token are never part of a
    /// combination, so they are dropped.
    pub(super) fn new<T: AsRef<[u8]>>(tokens: impl Iterator<Item = Option<T>>) -> Option<Self> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(tokens.size_hint().0));
        let mut count = 0;
        for token in tokens {
            let missing = if token.is_none() { NO_TOKEN } else { 0 };
            bytes.extend_from_slice(token.as_ref().map_or(&[], T::as_ref));
            let end = u32::try_from(bytes.len()).ok().filter(|end| *end < NO_TOKEN)?;
            ends.push(end | missing);
            if missing == 0 {
                count = ends.len();
            }
        }
        ends.truncate(count);
        Some(Self { all: Arc::new(List { bytes: bytes.into(), ends: ends.into() }), count })
    }

    /// The bytes of a token; `None` if the id has none.
    pub(super) fn get(&self, id: usize) -> Option<&[u8]> {
        let end = *self.all.ends[..self.count].get(id)?;
        let start = id.checked_sub(1).map_or(0, |before| self.all.ends[before] & !NO_TOKEN);
        (end & NO_TOKEN == 0).then(|| &self.all.bytes[start as usize..end as usize])
    }

    /// The bytes of all tokens, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.count).map(|id| self.get(id))
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.all, &other.all);
        self.count == other.count && (same || self.iter().eq(other.iter()))
    }
}

impl Eq for Listed {}

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn number(hash: u128, number: u64) -> u128 {
    add(hash, &number.to_le_bytes())
}

fn add(hash: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_from_ids_without_one() {
        let given = [Some("ab"), None, Some(""), None, Some("日"), None, None];
        let tokens = Listed::new(given.into_iter()).unwrap();
        let expected = given[..5].iter().map(|token| token.map(str::as_bytes));
        assert!(tokens.iter().eq(expected) && tokens.get(5).is_none() && tokens.get(usize::MAX).is_none());
        assert_eq!(Listed::new([None::<&str>; 3].into_iter()).unwrap().count, 0);
        let (whole, first) =
            (Tokens::Known(tokens), Tokens::Known(Listed::new([Some("ab")].into_iter()).unwrap()));
        assert!(whole.cut(1) == first && whole.cut(2) != first && whole.cut(9) == whole);
        assert_eq!(whole.cut(1).fingerprint(), first.fingerprint());
    }
}
