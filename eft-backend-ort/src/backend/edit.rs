//! Changes of single scores, and rows composed of two others.
use eft_core::{Edit, TokenMask};

use super::net::{Kind, Net, Var};

/// New scores of single tokens: `old · factor` or `old / divisor`, and a bias added.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TokenEdits {
    /// Places in the flattened rows, each once.
    pub(super) places: Vec<i64>,
    /// What positive scores are divided by and others multiplied with.
    pub(super) penalties: Vec<f32>,
    /// What is added.
    pub(super) biases: Vec<f32>,
}

impl TokenEdits {
    /// Of one edit for each row at most.
    pub(super) fn new(edits: &[Option<&Edit>], width: usize) -> Self {
        let mut new = Self::default();
        for (row, edit) in edits.iter().enumerate() {
            let start = new.places.len();
            let mut push = |token: u32, penalty: f32, bias: f32| {
                new.places.push((row * width + token as usize) as i64);
                new.penalties.push(penalty);
                new.biases.push(bias);
            };
            match edit {
                Some(Edit::Bias(biases)) => {
                    // A token named twice is added to twice, and a place must be named once.
                    let mut biases = biases.clone();
                    biases.sort_by_key(|(token, _)| *token);
                    biases.chunk_by(|a, b| a.0 == b.0).for_each(|same| {
                        push(same[0].0, 1.0, same.iter().map(|(_, bias)| bias).sum());
                    });
                }
                Some(Edit::Repetition { tokens, penalty }) => {
                    tokens.iter().for_each(|token| push(*token, *penalty, 0.0));
                }
                Some(Edit::Allow(_)) | None => {}
            }
            debug_assert!(new.places.len() >= start);
        }
        new
    }
}

/// Further inputs: places, penalties and biases, `(m)` each.
pub(super) fn tokens(net: &mut Net, scores: Var, width: usize) -> Var {
    let places = net.argument(Kind::I64, 1);
    let (penalties, biases) = (net.argument(Kind::F32, 1), net.argument(Kind::F32, 1));
    let flat = net.reshape(scores, &[-1]);
    let old = net.rows(flat, places);
    let zero = net.number(0.0);
    let positive = net.greater(old, zero);
    let (quotient, product) = (net.div(old, penalties), net.mul(old, penalties));
    let new = net.choose(positive, quotient, product);
    let new = net.add(new, biases);
    let flat = net.op_with("ScatterElements", &[flat, places, new], &[("axis", 0)]);
    net.reshape(flat, &[-1, width as i64])
}

/// The bits of the rows' masks, `width / 8` bytes each, rounded up; rows without one allow everything.
pub(super) fn mask_bytes(edits: &[Option<&Edit>], width: usize) -> Vec<u8> {
    let bytes = width.div_ceil(8);
    let mut masks = Vec::with_capacity(edits.len() * bytes);
    for edit in edits {
        match edit {
            Some(Edit::Allow(mask)) => masks.extend(bytes_of(mask).take(bytes)),
            _ => masks.extend(std::iter::repeat_n(u8::MAX, bytes)),
        }
    }
    masks
}

/// Eight ids each, the lowest in the lowest bit; zeros without end.
fn bytes_of(mask: &TokenMask) -> impl Iterator<Item = u8> {
    mask.words().iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0))
}

/// Further input: the masks' bytes, `(n, bytes, 1)`.
pub(super) fn mask(net: &mut Net, scores: Var, width: usize) -> Var {
    let bytes = net.argument(Kind::U8, 3);
    let bytes = net.cast(bytes, Kind::I32);
    // Operations on bits are rare among providers: each bit is the parity of a quotient.
    let powers = net.integers(&[1, 2, 4, 8, 16, 32, 64, 128]);
    let powers = net.cast(powers, Kind::I32);
    let quotients = net.div(bytes, powers);
    let two = net.integers(&[2]);
    let two = net.cast(two, Kind::I32);
    let bits = net.op("Mod", &[quotients, two]);
    let bits = net.cast(bits, Kind::Bool);
    let bits = net.reshape(bits, &[-1, 8 * width.div_ceil(8) as i64]);
    let allowed = net.columns(bits, 0, width);
    // Added, so that NaN and +∞ stay unsound where they are excluded.
    let nothing = net.number(f32::NEG_INFINITY);
    let excluded = net.add(scores, nothing);
    net.choose(allowed, scores, excluded)
}

pub(super) fn choose(net: &mut Net, kept: Var, inside: Var, outside: Option<Var>) -> Var {
    let excluded = net.number(f32::NEG_INFINITY);
    let is_kept = net.greater(kept, excluded);
    let chosen = net.choose(is_kept, inside, outside.unwrap_or(excluded));
    let unsound = net.op("IsNaN", &[kept]);
    net.choose(unsound, kept, chosen)
}
