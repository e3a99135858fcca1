//! Changes of single scores: biases, repetition penalties and masks.
use eft_core::{Edit, TokenMask};
use tch::{Kind, Tensor};

use super::tensor::{Result, sent};

/// Applies each row's edits in their order: the first edits of all rows together, then the second, and so on.
pub(super) fn edit(scores: &Tensor, edits: &[Vec<Edit>]) -> Result {
    let mut scores = scores.f_detach_copy()?;
    let rounds = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        bias(&mut scores, &edits)?;
        penalize(&mut scores, &edits)?;
        scores = allow(scores, &edits)?;
    }
    Ok(scores)
}

/// Indices into the flattened rows and a number for each, on the device of `like`; `None` if there are no entries.
fn entries(entries: impl Iterator<Item = (usize, f32)>, like: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let (indices, numbers): (Vec<_>, Vec<_>) = entries.map(|(index, number)| (index as i64, number)).unzip();
    if indices.is_empty() {
        return Ok(None);
    }
    let indices = sent(&Tensor::f_from_slice(&indices)?, like.device())?;
    Ok(Some((indices, sent(&Tensor::f_from_slice(&numbers)?, like.device())?)))
}

fn bias(scores: &mut Tensor, edits: &[Option<&Edit>]) -> Result<()> {
    let width = scores.size2()?.1 as usize;
    let biases = edits.iter().enumerate().flat_map(|(row, edit)| {
        let biases = if let Some(Edit::Bias(biases)) = edit { &biases[..] } else { &[] };
        biases.iter().map(move |(token, bias)| (row * width + *token as usize, *bias))
    });
    if let Some((indices, biases)) = entries(biases, scores)? {
        let _ = scores.f_view([-1])?.f_scatter_add_(0, &indices, &biases)?;
    }
    Ok(())
}

fn penalize(scores: &mut Tensor, edits: &[Option<&Edit>]) -> Result<()> {
    let width = scores.size2()?.1 as usize;
    let penalties = edits.iter().enumerate().flat_map(|(row, edit)| {
        let (tokens, penalty) = match edit {
            Some(Edit::Repetition { tokens, penalty }) => (&tokens[..], *penalty),
            _ => (&[][..], 1.0),
        };
        tokens.iter().map(move |token| (row * width + *token as usize, penalty))
    });
    if let Some((indices, penalties)) = entries(penalties, scores)? {
        let mut flat = scores.f_view([-1])?;
        let old = flat.f_index_select(0, &indices)?;
        let new = old.f_div(&penalties)?.f_where_self(&old.f_gt(0.0)?, &old.f_mul(&penalties)?)?;
        let _ = flat.f_scatter_(0, &indices, &new)?;
    }
    Ok(())
}

fn allow(scores: Tensor, edits: &[Option<&Edit>]) -> Result {
    if !edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
        return Ok(scores);
    }
    let (n, width) = scores.size2()?;
    let bytes = width.unsigned_abs().div_ceil(8) as usize;
    let masks = mask_bytes(edits, bytes);
    let masks = Tensor::f_from_data_size(&masks, &[n, bytes as i64, 1], Kind::Uint8)?;
    let masks = sent(&masks, scores.device())?;
    let bits = sent(&Tensor::f_from_slice(&[1u8, 2, 4, 8, 16, 32, 64, 128])?, scores.device())?;
    let bits = masks.f_bitwise_and_tensor(&bits)?.f_view([n, 8 * bytes as i64])?.f_narrow(1, 0, width)?;
    // −∞ is added, not written, so that NaN and +∞ stay unsound where the mask excludes them.
    let excluded = scores.f_add_scalar(f64::NEG_INFINITY)?;
    excluded.f_where_self(&bits.f_eq(0)?, &scores)
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
