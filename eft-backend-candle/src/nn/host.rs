//! Runs the operations of `eft_cpu`, which work on slices, on candle tensors in main memory.
use std::mem;

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use eft_models::spec::{Activation, AttentionSpec};
use eft_models::{AttentionInput, Span};

use super::Linear;
use eft_cpu::{self as cpu, ops, ops::RowCache};

/// The number of multiplications from which other threads help with all of a forward pass. To wake one costs tens of
/// microseconds.
const HELP_THRESHOLD: usize = 1 << 21;

/// Runs a forward pass of `products` multiplications: a large one with helpers that stay awake; of a small one, only large operations
/// are split (`eft_cpu`).
pub(super) fn pass<T>(products: usize, forward: impl FnOnce() -> T) -> T {
    if products < HELP_THRESHOLD { forward() } else { cpu::pass(forward) }
}

/// Calls `f` with the entries of a contiguous f32 tensor.
fn with<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(x)), Some((start, end))) => Ok(f(&x[start..end])),
        _ => candle_core::bail!("expected an f32 tensor in main memory"),
    }
}

fn tensor(x: Vec<f32>, rows: usize) -> Result<Tensor> {
    let columns = x.len() / rows.max(1);
    Tensor::from_vec(x, (rows, columns), &Device::Cpu)
}

/// Computes `x·Wᵀ + b` for each layer; `None` if a layer's weight is a candle tensor, not a [`Matrix`](cpu::Matrix).
pub(super) fn linears(x: &Tensor, linears: &[&Linear]) -> Option<Result<Vec<Tensor>>> {
    let matrices = linears.iter().map(|linear| linear.matrix()).collect::<Option<Vec<_>>>()?;
    let multiplied = || {
        let (rows, columns) = x.dims2()?;
        if let Some(matrix) = matrices.iter().find(|m| m.columns() != columns) {
            candle_core::bail!("{matrix:?} cannot be multiplied with activations of {columns} columns")
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

/// Computes `activation(gate)·up`; `None` for an activation that `eft_cpu` does not implement.
pub(super) fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Option<Result<Tensor>> {
    let rows = gate.dim(0).ok()?;
    let gated = with(gate, |gate| with(up, |up| ops::gated(gate, up, activation)));
    match gated.and_then(|gated| gated) {
        Ok(out) => out.map(|out| tensor(out, rows)),
        Err(error) => Some(Err(error)),
    }
}

/// Computes the attention of each span to its own row of the cache.
pub(super) fn attend(
    input: AttentionInput<'_, Tensor>,
    rows: &mut [RowCache],
    spans: &[Span],
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let AttentionInput { query, key, value, sinks } = input;
    let (tokens, columns) = query.dims2()?;
    let sinks = sinks.map(|sinks| with(sinks, <[f32]>::to_vec)).transpose()?;
    let heads = ops::Heads { sinks: sinks.as_deref(), ..ops::Heads::from(spec) };
    let narrow = spec.kv_heads * spec.head_dim;
    let mut out = vec![0.0; tokens * columns];
    with(query, |query| {
        with(key, |key| {
            with(value, |value| {
                let mut caches: Vec<_> = rows.iter_mut().map(Some).collect();
                let (mut rest, mut done, mut new) = (&mut out[..], 0, Vec::new());
                for span in spans {
                    let narrow = span.tokens.start * narrow..span.tokens.end * narrow;
                    // Spans follow one another.
                    let (_, of_span) = mem::take(&mut rest).split_at_mut(span.tokens.start * columns - done);
                    let (out, others) = of_span.split_at_mut(span.tokens.len() * columns);
                    (rest, done) = (others, span.tokens.end * columns);
                    let (key, value) = (&key[narrow.clone()], &value[narrow]);
                    let query = &query[span.tokens.start * columns..span.tokens.end * columns];
                    let Some(cache) = caches[span.row].take() else {
                        candle_core::bail!("row {} has two spans of new tokens", span.row)
                    };
                    new.push(ops::NewTokens { query, key, value, past: span.past, cache, out });
                }
                ops::attend(new, &heads);
                Ok(())
            })
        })
    })????;
    tensor(out, tokens)
}
