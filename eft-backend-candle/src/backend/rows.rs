//! Score rows that lie in any tensors, as one matrix on one device.
use candle_core::{DType, Device, Result, Tensor};
use eft_core::{Backend, ScoreRow, Term};

/// The first `width` columns of the rows, as a contiguous matrix of `f32` that tracks no gradients.
///
/// The result may share the memory of a tensor if its rows follow one another and need no conversion.
pub(super) fn load<B: Backend<Tensor = Tensor>>(
    device: &Device,
    rows: &[ScoreRow<'_, B>],
    width: usize,
) -> Result<Tensor> {
    let mut parts = Vec::new();
    for run in rows.chunk_by(|a, b| a.tensor.id() == b.tensor.id() && b.index == a.index + 1) {
        let part = run[0].tensor.detach().narrow(0, run[0].index, run.len())?.narrow(1, 0, width)?;
        parts.push(copy_to(&part, device)?.to_dtype(DType::F32)?);
    }
    match &parts[..] {
        [] => empty(width),
        [part] => part.contiguous(),
        parts => Tensor::cat(parts, 0),
    }
}

/// A matrix without rows. It lies in main memory: GPUs can neither hold an empty tensor nor compute with one.
pub(super) fn empty(width: usize) -> Result<Tensor> {
    Tensor::zeros((0, width), DType::F32, &Device::Cpu)
}

/// The weight and the rows of each term, in the order of the terms.
pub(super) fn load_terms<B: Backend<Tensor = Tensor>>(
    device: &Device,
    terms: &[Term<'_, B>],
    width: usize,
) -> Result<Vec<(f32, Tensor)>> {
    terms.iter().map(|term| Ok((term.weight, load(device, &term.rows, width)?))).collect()
}

/// The view on `device`; the view itself if it is there already.
pub(super) fn copy_to(view: &Tensor, device: &Device) -> Result<Tensor> {
    if view.device().same_device(device) {
        return Ok(view.clone());
    }
    // Without a copy of the view, `to_device` would transfer all the memory that the view is a part of.
    view.force_contiguous()?.to_device(device)
}
