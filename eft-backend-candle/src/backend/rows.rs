//! Rows that lie anywhere, as one matrix on one device.
use candle_core::{DType, Device, Result, Tensor};
use eft_core::{ScoreRow, Term};

use super::Candle;

/// The first `width` columns of the rows in `f32`, contiguous, with no history of gradients. Rows that follow one
/// another in one tensor are not copied if they are all there is and are stored so already.
pub(super) fn load(device: &Device, rows: &[ScoreRow<'_, Candle>], width: usize) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let follows = |(i, row): &(usize, &ScoreRow<'_, Candle>)| {
            row.tensor.id() == first.tensor.id() && row.index == first.index + i
        };
        let count = rest.iter().enumerate().take_while(follows).count();
        let part = first.tensor.detach().narrow(0, first.index, count)?.narrow(1, 0, width)?;
        parts.push(brought(&part, device)?.to_dtype(DType::F32)?);
        rest = &rest[count..];
    }
    match &parts[..] {
        [] => Tensor::zeros((0, width), DType::F32, device),
        [part] => part.contiguous(),
        parts => Tensor::cat(parts, 0),
    }
}

/// Weights with the rows they apply to, in the order of the terms.
pub(super) fn load_terms(
    device: &Device,
    terms: &[Term<'_, Candle>],
    width: usize,
) -> Result<Vec<(f32, Tensor)>> {
    terms.iter().map(|term| Ok((term.weight, load(device, &term.rows, width)?))).collect()
}

/// On `device`.
pub(super) fn brought(part: &Tensor, device: &Device) -> Result<Tensor> {
    if part.device().same_device(device) {
        return Ok(part.clone());
    }
    // A view would take the whole memory it looks at along.
    part.force_contiguous()?.to_device(device)
}
