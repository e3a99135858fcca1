//! Changes of single scores, and rows composed of two others.
use candle_core::{Result, Tensor};
use eft_core::{Edit, TokenMask};

use super::tensor::{choose as choose_by, scalar};

/// The first edits of all rows are applied together, then the second, and so on.
pub(super) fn edit(scores: &Tensor, edits: &[Vec<Edit>]) -> Result<Tensor> {
    let mut scores = scores.copy()?;
    let most = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..most {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        scores = bias(&scores, &edits)?;
        scores = penalize(&scores, &edits)?;
        scores = allow(&scores, &edits)?;
    }
    Ok(scores)
}

/// Places in the flattened rows, with a number for each.
struct Places {
    places: Vec<i64>,
    numbers: Vec<f32>,
}

impl Places {
    fn new(entries: impl Iterator<Item = (usize, f32)>) -> Self {
        let (places, numbers) = entries.map(|(place, number)| (place as i64, number)).unzip();
        Self { places, numbers }
    }

    /// On the device of `like`; none if there are no places.
    fn tensors(self, like: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let places = Tensor::new(self.places, like.device())?;
        Ok(Some((places, Tensor::new(self.numbers, like.device())?)))
    }
}

fn bias(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    let (n, width) = scores.dims2()?;
    let entries = edits.iter().enumerate().flat_map(|(row, edit)| {
        let biases = if let Some(Edit::Bias(biases)) = edit { &biases[..] } else { &[] };
        biases.iter().map(move |(token, bias)| (row * width + *token as usize, *bias))
    });
    match Places::new(entries).tensors(scores)? {
        Some((places, biases)) => scores.flatten_all()?.scatter_add(&places, &biases, 0)?.reshape((n, width)),
        None => Ok(scores.clone()),
    }
}

fn penalize(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    let (n, width) = scores.dims2()?;
    let entries = edits.iter().enumerate().flat_map(|(row, edit)| {
        let (tokens, penalty) = match edit {
            Some(Edit::Repetition { tokens, penalty }) => (&tokens[..], *penalty),
            _ => (&[][..], 1.0),
        };
        tokens.iter().map(move |token| (row * width + *token as usize, penalty))
    });
    let Some((places, penalties)) = Places::new(entries).tensors(scores)? else { return Ok(scores.clone()) };
    let flat = scores.flatten_all()?;
    let old = flat.index_select(&places, 0)?;
    let new = old.gt(&old.zeros_like()?)?.where_cond(&(&old / &penalties)?, &(&old * &penalties)?)?;
    flat.scatter(&places, &new, 0)?.reshape((n, width))
}

fn allow(scores: &Tensor, edits: &[Option<&Edit>]) -> Result<Tensor> {
    if !edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
        return Ok(scores.clone());
    }
    let (n, width) = scores.dims2()?;
    let bytes = width.div_ceil(8);
    let mut masks = Vec::with_capacity(n * bytes);
    for edit in edits {
        match edit {
            Some(Edit::Allow(mask)) => masks.extend(mask_bytes(mask).take(bytes)),
            _ => masks.extend(std::iter::repeat_n(u8::MAX, bytes)),
        }
    }
    let masks = Tensor::from_vec(masks, (n, bytes), scores.device())?;
    let allowed = bits(&masks)?.narrow(1, 0, width)?;
    // Added, so that NaN and +∞ stay unsound where they are excluded.
    choose_by(&allowed, scores, &scores.affine(1.0, f64::from(f32::NEG_INFINITY))?)
}

/// Eight ids each, the lowest in the lowest bit; zeros without end.
fn mask_bytes(mask: &TokenMask) -> impl Iterator<Item = u8> {
    mask.words().iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0))
}

/// The bits of bytes `(n, bytes)`, lowest first, as a mask `(n, 8 · bytes)`. There are no operations on bits, so
/// this is by halving and rounding down.
fn bits(bytes: &Tensor) -> Result<Tensor> {
    let (n, count) = bytes.dims2()?;
    let halves: Vec<_> = (0..9).map(|bit| 0.5f32.powi(bit)).collect();
    let halves = Tensor::from_vec(halves, (1, 1, 9), bytes.device())?;
    let bytes = bytes.to_dtype(candle_core::DType::F32)?.reshape((n, count, 1))?;
    let shifted = bytes.broadcast_mul(&halves)?.floor()?;
    let bits = (shifted.narrow(2, 0, 8)? - shifted.narrow(2, 1, 8)?.affine(2.0, 0.0)?)?;
    let bits = bits.reshape((n, 8 * count))?;
    bits.broadcast_gt(&scalar(0.5f32, &bits)?)
}

pub(super) fn choose(kept: &Tensor, inside: &Tensor, outside: Option<&Tensor>) -> Result<Tensor> {
    let excluded = scalar(f32::NEG_INFINITY, kept)?;
    let chosen = choose_by(&kept.broadcast_gt(&excluded)?, inside, outside.unwrap_or(&excluded))?;
    // Only NaN is not at least −∞.
    choose_by(&kept.broadcast_ge(&excluded)?, &chosen, &scalar(f32::NAN, kept)?)
}
