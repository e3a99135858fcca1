//! Between candle's tensors and the operations of the processor, which work on slices.
use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use eft_models::Span;
use eft_models::spec::{Activation, AttentionSpec};

use super::Linear;
use crate::cpu::{self, ops, ops::RowCache};

/// Products of a weight and an activation that are worth going to other threads for: going there once for a pass costs
/// some ten microseconds.
const WORTH: usize = 1 << 21;

/// Runs a pass on one of the threads that products are spread over; a small one on the caller's thread, from
/// which only what is large by itself is shared (`cpu::is_shared`).
pub(super) fn pass<T: Send>(products: usize, forward: impl FnOnce() -> T + Send) -> T {
    if products < WORTH { forward() } else { rayon::scope(|_| forward()) }
}

/// Calls `f` with the numbers of a tensor.
fn with<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(x)), Some((start, end))) => Ok(f(&x[start..end])),
        _ => candle_core::bail!("expected numbers of 32 bits in main memory"),
    }
}

fn tensor(x: Vec<f32>, rows: usize) -> Result<Tensor> {
    let columns = x.len() / rows.max(1);
    Tensor::from_vec(x, (rows, columns), &Device::Cpu)
}

/// `x·Wᵀ + b` of weights as their file holds them; `None` if there are others among them.
pub(super) fn linears(x: &Tensor, linears: &[&Linear]) -> Option<Result<Vec<Tensor>>> {
    let matrices = linears.iter().map(|linear| linear.matrix()).collect::<Option<Vec<_>>>()?;
    let multiplied = || {
        let (rows, columns) = x.dims2()?;
        if let Some(matrix) = matrices.iter().find(|m| m.columns() != columns) {
            candle_core::bail!("{matrix:?} cannot multiply rows of {columns}")
        }
        let outs = with(x, |x| cpu::products(x, &matrices))?;
        let biased = linears.iter().zip(outs).map(|(linear, mut out)| {
            if let Some(bias) = linear.bias() {
                with(bias, |bias| {
                    let rows = out.chunks_exact_mut(bias.len().max(1));
                    rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias));
                })?;
            }
            tensor(out, rows)
        });
        biased.collect()
    };
    Some(multiplied())
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let out = with(x, |x| with(weight, |weight| ops::rms_norm(x, weight, epsilon as f32)))??;
    tensor(out, x.dim(0)?)
}

pub(super) fn rope(x: &Tensor, head_dim: usize, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let ((rows, columns), width) = (x.dims2()?, cos.dim(1)?);
    let out =
        with(x, |x| with(cos, |cos| with(sin, |sin| ops::rope(x, head_dim, columns, cos, sin, width))))???;
    tensor(out, rows)
}

/// `None` for an activation that is not among the processor's operations.
pub(super) fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Option<Result<Tensor>> {
    let rows = gate.dim(0).ok()?;
    let gated = with(gate, |gate| with(up, |up| ops::gated(gate, up, activation)));
    match gated.and_then(|gated| gated) {
        Ok(out) => out.map(|out| tensor(out, rows)),
        Err(error) => Some(Err(error)),
    }
}

/// Attention of each span to its own row of the cache.
pub(super) fn attend(
    [query, key, value]: [&Tensor; 3],
    rows: &mut [RowCache],
    spans: &[Span],
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let (tokens, columns) = query.dims2()?;
    let narrow = spec.kv_heads * spec.head_dim;
    let mut out = vec![0.0; tokens * columns];
    with(query, |query| {
        with(key, |key| {
            with(value, |value| {
                for span in spans {
                    let wide = span.tokens.start * columns..span.tokens.end * columns;
                    let narrow = span.tokens.start * narrow..span.tokens.end * narrow;
                    let (query, out) = (&query[wide.clone()], &mut out[wide]);
                    let (key, value) = (&key[narrow.clone()], &value[narrow]);
                    ops::attend(query, key, value, span.past, &mut rows[span.row], spec, out);
                }
            })
        })
    })???;
    tensor(out, tokens)
}
