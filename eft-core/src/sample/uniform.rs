use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Uniform numbers by counter: a pure function of seed, row, position and purpose.
///
/// Nothing is consumed, so a row's text does not change when other rows finish, fork or speculate, and positions
/// can be revisited.
///
/// ```
/// use eft_core::sample::{Purpose, Uniforms};
///
/// let uniforms = Uniforms::new(7);
/// assert_eq!(uniforms.at(0, 5, Purpose::Draw), uniforms.at(0, 5, Purpose::Draw));
/// assert_ne!(uniforms.at(0, 5, Purpose::Draw), uniforms.at(1, 5, Purpose::Draw));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uniforms {
    seed: u64,
}

/// What a uniform number decides. Different purposes at one position need independent numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Which token is drawn.
    Draw,
    /// Which token a draft proposes.
    Draft,
    /// Whether a drafted token is accepted.
    Accept,
    /// Which token follows a rejection.
    Residual,
}

impl Uniforms {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The number for a row (by its stable id), a position and a purpose: in [0, 1), a multiple of 2⁻⁵³.
    pub fn at(&self, row: u64, position: usize, purpose: Purpose) -> f64 {
        let purpose: u64 = match purpose {
            Purpose::Draw => 0,
            Purpose::Draft => 1,
            Purpose::Accept => 2,
            Purpose::Residual => 3,
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&row.to_le_bytes());
        key[16..24].copy_from_slice(&purpose.to_le_bytes());
        let mut stream = ChaCha20Rng::from_seed(key);
        // A position is a block of the cipher's key stream: sixteen words.
        stream.set_word_pos(position as u128 * 16);
        (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
