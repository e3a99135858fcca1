use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stable identity of a row, from which its random numbers are computed.
///
/// It stays the same while rows join, leave or change places in a batch, so the text of a row does not depend on the
/// other rows.
///
/// ```
/// use eft_core::sample::RowId;
///
/// assert_eq!(RowId::from(7), RowId { request: 7, sample: 0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RowId {
    /// The id of the request; by default the index of its prompt in the batch.
    pub request: u64,
    /// Which of the samples of that request, counted from 0.
    pub sample: u64,
}

impl From<u64> for RowId {
    fn from(request: u64) -> Self {
        Self { request, sample: 0 }
    }
}

/// A counter-based random number generator: its uniform numbers are a pure function of seed, row, position and
/// purpose.
///
/// No state is consumed, so the text of a row does not change when other rows finish, fork or speculate, and positions
/// can be visited again. The numbers are blocks of the ChaCha20 key stream: the key is made of seed, row and purpose,
/// and the position is the block counter.
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

/// The decision that a uniform number is used for. Different decisions at one position need independent numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Which token is drawn.
    Draw,
    /// Which token a draft proposes.
    Draft,
    /// Whether a drafted token is accepted.
    Accept,
    /// Which token follows a rejected one.
    Residual,
    /// Whether a [`Truncation`](super::Truncation) applies.
    Truncate,
}

impl Uniforms {
    /// Creates the generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the number for a row, a position and a purpose: a multiple of 2⁻⁵³ in [0, 1).
    pub fn at(&self, row: impl Into<RowId>, position: usize, purpose: Purpose) -> f64 {
        let row = row.into();
        let purpose: u64 = match purpose {
            Purpose::Draw => 0,
            Purpose::Draft => 1,
            Purpose::Accept => 2,
            Purpose::Residual => 3,
            Purpose::Truncate => 4,
        };
        let mut key = [0; 32];
        for (bytes, part) in key.chunks_exact_mut(8).zip([self.seed, row.request, purpose, row.sample]) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        let mut stream = ChaCha20Rng::from_seed(key);
        // A position is one block of the key stream: sixteen words.
        stream.set_word_pos(position as u128 * 16);
        (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
