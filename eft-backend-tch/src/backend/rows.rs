//! Rows that lie anywhere, as one matrix on one device.
use eft_core::{ScoreRow, Term};
use tch::{Device, Kind, Tensor};

use super::Torch;
use super::tensor::Result;

/// The first `width` columns of the rows in `f32`, contiguous, with no history of gradients. Rows that follow one another
/// in one tensor are not copied if they are all there is and are stored so already: the result may be their memory.
pub(super) fn load(device: Device, rows: &[ScoreRow<'_, Torch>], width: usize) -> Result {
    let mut parts = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let follows = |(i, row): &(usize, &ScoreRow<'_, Torch>)| {
            std::ptr::eq(row.tensor, first.tensor) && row.index == first.index + i
        };
        let count = rest.iter().enumerate().take_while(follows).count();
        let part = first.tensor.f_narrow(0, first.index as i64, count as i64)?;
        let part = part.f_narrow(1, 0, width as i64)?.f_to(device)?;
        parts.push(part.f_totype(Kind::Float)?);
        rest = &rest[count..];
    }
    match &parts[..] {
        [] => Tensor::f_zeros([0, width as i64], (Kind::Float, device)),
        [part] => part.f_detach()?.f_contiguous(),
        parts => Tensor::f_cat(parts, 0),
    }
}

/// Weights with the rows they apply to, in the order of the terms.
pub(super) fn load_terms(
    device: Device,
    terms: &[Term<'_, Torch>],
    width: usize,
) -> Result<Vec<(f32, Tensor)>> {
    terms.iter().map(|term| Ok((term.weight, load(device, &term.rows, width)?))).collect()
}
