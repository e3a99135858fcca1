//! Score rows that lie in any tensors, as one matrix on one device.
use eft_core::{Backend, ScoreRow, Term};
use tch::{Device, Kind, Tensor};

use super::tensor::Result;

/// The first `width` columns of the rows, as a contiguous matrix of `f32` that tracks no gradients.
///
/// The result may share the memory of a tensor if its rows follow one another and need no conversion.
pub(super) fn load<B: Backend<Tensor = Tensor>>(
    device: Device,
    rows: &[ScoreRow<'_, B>],
    width: usize,
) -> Result {
    let mut parts = Vec::new();
    for run in rows.chunk_by(|a, b| std::ptr::eq(a.tensor, b.tensor) && b.index == a.index + 1) {
        let part = run[0].tensor.f_narrow(0, run[0].index as i64, run.len() as i64)?;
        let part = part.f_narrow(1, 0, width as i64)?.f_to(device)?;
        parts.push(part.f_totype(Kind::Float)?);
    }
    match &parts[..] {
        [] => Tensor::f_zeros([0, width as i64], (Kind::Float, device)),
        [part] => part.f_detach()?.f_contiguous(),
        parts => Tensor::f_cat(parts, 0),
    }
}

/// The weight and the rows of each term, in the order of the terms.
pub(super) fn load_terms<B: Backend<Tensor = Tensor>>(
    device: Device,
    terms: &[Term<'_, B>],
    width: usize,
) -> Result<Vec<(f32, Tensor)>> {
    terms.iter().map(|term| Ok((term.weight, load(device, &term.rows, width)?))).collect()
}
