//! [`Tokens`]: the bytes of a vocabulary's tokens, and their hash.
use std::sync::Arc;

/// The bytes of the tokens, as far as known. Clones share them, since a vocabulary takes megabytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Tokens {
    /// The bytes of each token by its id; `None` if the id has no token.
    Known(Arc<[Option<Box<[u8]>>]>),
    /// Only the number of tokens.
    Anonymous(usize),
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Known(tokens) => tokens.len(),
            Self::Anonymous(size) => *size,
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

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn number(hash: u128, number: u64) -> u128 {
    add(hash, &number.to_le_bytes())
}

fn add(hash: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}
