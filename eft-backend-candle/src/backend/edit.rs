//! Changes of single scores: biases, repetition penalties and masks.
use candle_core::{DType, Result, Tensor};
use eft_core::{Edit, TokenMask};

use super::tensor::{scalar, where_cond};

/// Applies each row's edits in their order: the first edits of all rows together, then the second, and so on.
pub(super) fn edit(scores: &Tensor, edits: &[Vec<Edit>]) -> Result<Tensor> {
    let mut scores = scores.copy()?;
    let rounds = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        scores = bias(&scores, &edits)?;
        scores = penalize(&scores, &edits)?;
        scores = allow(&scores, &edits)?;
    }
    Ok(scores)
}

/// Indices into the flattened rows and a number for each, on the device of `like`; `None` if there are no entries.
fn entries(entries: impl Iterator<Item = (usize, f32)>, like: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let (indices, numbers): (Vec<_>, Vec<_>) = entries.map(|(index, number)| (index as i64, number)).unzip();
    if indices.is_empty() {
        return Ok(None);
    }
    let indices = Tensor::new(indices, like.device())?;
    Ok(Some((indices, Tensor::new(numbers, like.device())?)))
}

fn bias(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    let (n, width) = scores.dims2()?;
    let biases = edits.iter().enumerate().flat_map(|(row, edit)| {
        let biases = if let Some(Edit::Bias(biases)) = edit { &biases[..] } else { &[] };
        biases.iter().map(move |(token, bias)| (row * width + *token as usize, *bias))
    });
    match entries(biases, scores)? {
        Some((indices, biases)) => {
            scores.flatten_all()?.scatter_add(&indices, &biases, 0)?.reshape((n, width))
        }
        None => Ok(scores.clone()),
    }
}

fn penalize(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    let (n, width) = scores.dims2()?;
    let penalties = edits.iter().enumerate().flat_map(|(row, edit)| {
        let (tokens, penalty) = match edit {
            Some(Edit::Repetition { tokens, penalty }) => (&tokens[..], *penalty),
            _ => (&[][..], 1.0),
        };
        tokens.iter().map(move |token| (row * width + *token as usize, penalty))
    });
    let Some((indices, penalties)) = entries(penalties, scores)? else { return Ok(scores.clone()) };
    let flat = scores.flatten_all()?;
    let old = flat.index_select(&indices, 0)?;
    let new = old.gt(&old.zeros_like()?)?.where_cond(&(&old / &penalties)?, &(&old * &penalties)?)?;
    flat.scatter(&indices, &new, 0)?.reshape((n, width))
}

fn allow(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    if !edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
        return Ok(scores.clone());
    }
    let (n, width) = scores.dims2()?;
    let bytes = width.div_ceil(8);
    let masks = Tensor::from_vec(mask_bytes(edits, bytes), (n, bytes), scores.device())?;
    let allowed = bits(&masks)?.narrow(1, 0, width)?;
    // −∞ is added, not written, so that NaN and +∞ stay unsound where the mask excludes them.
    where_cond(&allowed, scores, &scores.affine(1.0, f64::from(f32::NEG_INFINITY))?)
}

/// The masks as bits, `bytes` bytes for each row; a row without a mask allows every token.
fn mask_bytes(edits: &[Option<&Edit>], bytes: usize) -> Vec<u8> {
    let mut masks = Vec::with_capacity(edits.len() * bytes);
    for edit in edits {
        match edit {
            Some(Edit::Allow(mask)) => masks.extend(bytes_of(mask).take(bytes)),
            _ => masks.extend(std::iter::repeat_n(u8::MAX, bytes)),
        }
    }
    masks
}

/// The bytes of a mask, eight ids each with the lowest id in the lowest bit, followed by endless zeros.
fn bytes_of(mask: &TokenMask) -> impl Iterator<Item = u8> {
    mask.words().iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0))
}

/// The bits of bytes `(n, bytes)`, lowest first, as a mask `(n, 8 · bytes)`.
///
/// Candle has no bitwise operations, so bit i is `⌊b / 2ⁱ⌋ − 2·⌊b / 2ⁱ⁺¹⌋`.
fn bits(bytes: &Tensor) -> Result<Tensor> {
    let (n, count) = bytes.dims2()?;
    let halves: Vec<_> = (0..9).map(|bit| 0.5f32.powi(bit)).collect();
    let halves = Tensor::from_vec(halves, (1, 1, 9), bytes.device())?;
    let bytes = bytes.to_dtype(DType::F32)?.reshape((n, count, 1))?;
    let shifted = bytes.broadcast_mul(&halves)?.floor()?;
    let bits = (shifted.narrow(2, 0, 8)? - shifted.narrow(2, 1, 8)?.affine(2.0, 0.0)?)?;
    let bits = bits.reshape((n, 8 * count))?;
    bits.broadcast_gt(&scalar(0.5f32, &bits)?)
}
