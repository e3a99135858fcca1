//! Changes of single scores, and rows composed of two others.
use eft_core::{Edit, Result, ScoreRow, TokenMask};

use super::net::{Kind, Net, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::{Ort, Tensor, integers, value};

/// The first edits of all rows are applied together, then the second, and so on.
pub(super) fn run(
    ort: &Ort,
    rows: &[ScoreRow<'_, Ort>],
    edits: &[Vec<Edit>],
    width: usize,
) -> Result<Tensor> {
    let mut scores = ort.collect(rows, width)?;
    let rounds = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        let TokenEdits { places, penalties, biases } = TokenEdits::new(&edits, width);
        let count = [places.len()];
        if !places.is_empty() {
            let further = vec![integers(count, places)?, value(count, penalties)?, value(count, biases)?];
            scores = ort.tensor(Operation::EditTokens, vec![Rows::whole(scores)], width, further)?;
        }
        if edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
            let mask = value([edits.len(), width.div_ceil(8), 1], mask_bytes(&edits, width))?;
            scores = ort.tensor(Operation::EditMask, vec![Rows::whole(scores)], width, vec![mask])?;
        }
    }
    Ok(scores)
}

/// New scores of single tokens.
#[derive(Default)]
struct TokenEdits {
    /// Places in the flattened rows, each once.
    places: Vec<i64>,
    /// What positive scores are divided by and others multiplied with.
    penalties: Vec<f32>,
    /// What is added then.
    biases: Vec<f32>,
}

impl TokenEdits {
    /// Of one edit for each row at most.
    fn new(edits: &[Option<&Edit>], width: usize) -> Self {
        let mut new = Self::default();
        for (row, edit) in edits.iter().enumerate() {
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
fn mask_bytes(edits: &[Option<&Edit>], width: usize) -> Vec<u8> {
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
