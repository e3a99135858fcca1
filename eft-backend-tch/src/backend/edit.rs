//! Changes of single scores, and rows composed of two others.
use eft_core::{Edit, TokenMask};
use tch::{Kind, Tensor};

use super::tensor::Result;

/// The first edits of all rows are applied together, then the second, and so on.
pub(super) fn edit(scores: &Tensor, edits: &[Vec<Edit>]) -> Result {
    let mut scores = scores.f_detach_copy()?;
    let most = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..most {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        bias(&mut scores, &edits)?;
        penalize(&mut scores, &edits)?;
        scores = allow(scores, &edits)?;
    }
    Ok(scores)
}

/// Places in the flattened rows, with a number for each, on the device of `like`; none if there are no places.
fn places(entries: impl Iterator<Item = (usize, f32)>, like: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let (places, numbers): (Vec<_>, Vec<_>) = entries.map(|(place, number)| (place as i64, number)).unzip();
    if places.is_empty() {
        return Ok(None);
    }
    let places = Tensor::f_from_slice(&places)?.f_to(like.device())?;
    Ok(Some((places, Tensor::f_from_slice(&numbers)?.f_to(like.device())?)))
}

fn bias(scores: &mut Tensor, edits: &[Option<&Edit>]) -> Result<()> {
    let width = scores.size2()?.1 as usize;
    let entries = edits.iter().enumerate().flat_map(|(row, edit)| {
        let biases = if let Some(Edit::Bias(biases)) = edit { &biases[..] } else { &[] };
        biases.iter().map(move |(token, bias)| (row * width + *token as usize, *bias))
    });
    if let Some((places, biases)) = places(entries, scores)? {
        let _ = scores.f_view([-1])?.f_scatter_add_(0, &places, &biases)?;
    }
    Ok(())
}

fn penalize(scores: &mut Tensor, edits: &[Option<&Edit>]) -> Result<()> {
    let width = scores.size2()?.1 as usize;
    let entries = edits.iter().enumerate().flat_map(|(row, edit)| {
        let (tokens, penalty) = match edit {
            Some(Edit::Repetition { tokens, penalty }) => (&tokens[..], *penalty),
            _ => (&[][..], 1.0),
        };
        tokens.iter().map(move |token| (row * width + *token as usize, penalty))
    });
    if let Some((places, penalties)) = places(entries, scores)? {
        let mut flat = scores.f_view([-1])?;
        let old = flat.f_index_select(0, &places)?;
        let new = old.f_div(&penalties)?.f_where_self(&old.f_gt(0.0)?, &old.f_mul(&penalties)?)?;
        let _ = flat.f_scatter_(0, &places, &new)?;
    }
    Ok(())
}

fn allow(scores: Tensor, edits: &[Option<&Edit>]) -> Result {
    if !edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
        return Ok(scores);
    }
    let (n, width) = scores.size2()?;
    let bytes = width.unsigned_abs().div_ceil(8) as usize;
    let mut masks = Vec::with_capacity(n as usize * bytes);
    for edit in edits {
        match edit {
            Some(Edit::Allow(mask)) => masks.extend(mask_bytes(mask).take(bytes)),
            _ => masks.extend(std::iter::repeat_n(u8::MAX, bytes)),
        }
    }
    let masks =
        Tensor::f_from_data_size(&masks, &[n, bytes as i64, 1], Kind::Uint8)?.f_to(scores.device())?;
    let bits = Tensor::f_from_slice(&[1u8, 2, 4, 8, 16, 32, 64, 128])?.f_to(scores.device())?;
    let bits = masks.f_bitwise_and_tensor(&bits)?.f_view([n, 8 * bytes as i64])?.f_narrow(1, 0, width)?;
    // Added, so that NaN and +∞ stay unsound where they are excluded.
    let excluded = scores.f_add_scalar(f64::NEG_INFINITY)?;
    excluded.f_where_self(&bits.f_eq(0)?, &scores)
}

/// Eight ids each, the lowest in the lowest bit; zeros without end.
fn mask_bytes(mask: &TokenMask) -> impl Iterator<Item = u8> {
    mask.words().iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0))
}

pub(super) fn choose(kept: &Tensor, inside: &Tensor, outside: Option<&Tensor>) -> Result {
    let excluded = kept.f_eq(f64::NEG_INFINITY)?;
    let chosen = match outside {
        Some(outside) => outside.f_where_self(&excluded, inside)?,
        None => inside.f_masked_fill(&excluded, f64::NEG_INFINITY)?,
    };
    chosen.f_masked_fill(&kept.f_isnan()?, f64::NAN)
}
