//! [`ReferenceNn`]: every operation of [`Nn`] as its definition says, in plain loops.
use std::ops::Range;
use std::sync::Arc;

use eft_core::backend::score_rows;
use eft_core::host::HostTensor;
use eft_core::{Backend, Error, Host, Result, TokenId};

use super::activations::{activated, gate_factor};
use crate::spec::{Activation, AttentionSpec};
use crate::{AttentionInput, Dtype, Nn, RawTensor, Span};

/// [`Nn`] in main memory, as the definitions say and without any attempt at speed: an example of how to implement the
/// trait, and a reference to compare with. Weights must be of type F32 or BF16.
///
/// ```
/// use eft_core::backend::{Backend, score_rows};
/// use eft_core::Host;
/// use eft_models::Nn;
/// use eft_models::conformance::ReferenceNn;
///
/// // Rotate one head of four channels: channel 0 with channel 2 by 90°, channel 1 with channel 3 not at all.
/// let x = Host.upload(&[1.0, 2.0, 3.0, 4.0], 4)?;
/// let (cos, sin) = (Host.upload(&[0.0, 1.0], 2)?, Host.upload(&[1.0, 0.0], 2)?);
/// let rotated = ReferenceNn.rope(&x, 4, &cos, &sin)?;
/// assert_eq!(Host.download(&score_rows(&rotated, 1), 4)?, [-3.0, 2.0, 1.0, 4.0]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReferenceNn;

/// A linear layer of [`ReferenceNn`].
#[derive(Debug, Clone)]
pub struct ReferenceLinear {
    /// Outputs × inputs.
    weight: Arc<[f32]>,
    inputs: usize,
    bias: Option<Arc<[f32]>>,
}

/// Keys and values of one row of the batch, tokens × (key-value heads · head width). Those that it may forget become NaN.
#[derive(Debug, Clone, Default)]
pub struct ReferenceCache {
    kept: Option<usize>,
    /// The number of tokens that are forgotten.
    forgotten: usize,
    /// The number of tokens.
    length: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// The entries of a tensor, row by row, and its width.
fn entries(x: &HostTensor) -> Result<(Vec<f32>, usize)> {
    let (rows, width) = Host.shape(x);
    Ok((Host.download(&score_rows(x, rows), width)?, width))
}

/// The entries of a stored tensor.
fn stored(raw: &RawTensor<'_>) -> Result<Vec<f32>> {
    match raw.dtype {
        Dtype::F32 => Ok(raw.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        // The upper half of a 32-bit number.
        Dtype::BF16 => {
            let wide = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            Ok(raw.bytes.as_chunks().0.iter().map(wide).collect())
        }
        other => {
            Err(Error::shape(format!("the type of `{}`", raw.name), "F32 or BF16", format!("{other:?}")))
        }
    }
}

/// Applies a function to every entry.
fn map(x: &HostTensor, f: impl Fn(f32) -> f32) -> Result<HostTensor> {
    let (x, width) = entries(x)?;
    Host.upload(&x.into_iter().map(f).collect::<Vec<_>>(), width)
}

/// Applies a function to every pair of entries of two tensors of one shape.
fn zip(a: &HostTensor, b: &HostTensor, f: impl Fn(f32, f32) -> f32) -> Result<HostTensor> {
    let ((a, width), (b, other)) = (entries(a)?, entries(b)?);
    if (a.len(), width) != (b.len(), other) {
        return Err(Error::shape("the second operand", a.len(), b.len()));
    }
    Host.upload(&a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect::<Vec<_>>(), width)
}

/// The sum of products, in double precision.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "callers check the widths");
    // Four sums, so that additions need not wait for each other, and no iterator, whose steps are function calls in the
    // profile of the tests: most of the time of these tests is spent here.
    let product = |i: usize| f64::from(a[i]) * f64::from(b[i]);
    let (mut sums, mut i) = ([0.0; 4], 0);
    while i + 4 <= a.len() {
        sums[0] += product(i);
        sums[1] += product(i + 1);
        sums[2] += product(i + 2);
        sums[3] += product(i + 3);
        i += 4;
    }
    while i < a.len() {
        sums[0] += product(i);
        i += 1;
    }
    sums[0] + sums[1] + sums[2] + sums[3]
}

/// Scores of one query, softmax, and the weighted sum of values, written to `out`. The sink has a weight, but no value.
fn attend(
    query: &[f32],
    [keys, values]: [&[&[f32]]; 2],
    sink: Option<f32>,
    spec: &AttentionSpec,
    out: &mut [f32],
) {
    let score = |key: &&[f32]| {
        let score = dot(query, key) * f64::from(spec.scale);
        spec.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
    };
    let scores: Vec<f64> = keys.iter().map(score).collect();
    let sink = sink.map_or(f64::NEG_INFINITY, f64::from);
    let largest = scores.iter().copied().fold(sink, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total = weights.iter().sum::<f64>() + (sink - largest).exp();
    for (i, out) in out.iter_mut().enumerate() {
        *out =
            weights.iter().zip(values).map(|(w, value)| w / total * f64::from(value[i])).sum::<f64>() as f32;
    }
}

impl Nn for ReferenceNn {
    type Backend = Host;
    type Linear = ReferenceLinear;
    type Cache = Vec<ReferenceCache>;

    fn backend(&self) -> &Host {
        &Host
    }

    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<HostTensor> {
        let width = raw.shape.last().copied().unwrap_or(1);
        Host.upload(&stored(raw)?.into_iter().map(|x| x + plus).collect::<Vec<_>>(), width)
    }

    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<ReferenceLinear> {
        let [rows, columns] = weight.shape[..] else {
            return Err(Error::shape("dimensions of a weight", 2, weight.shape.len()));
        };
        let entries = stored(weight)?;
        let (weight, inputs) = match transposed {
            true => ((0..rows * columns).map(|i| entries[i % rows * columns + i / rows]).collect(), rows),
            false => (entries.into(), columns),
        };
        let bias = bias.map(stored).transpose()?.map(Arc::from);
        Ok(ReferenceLinear { weight, inputs, bias })
    }

    fn share(&self, linear: &ReferenceLinear) -> ReferenceLinear {
        linear.clone()
    }

    fn embed(&self, embedding: &ReferenceLinear, ids: &[TokenId]) -> Result<HostTensor> {
        let width = embedding.inputs;
        let row = |id: &TokenId| {
            let start = *id as usize * width;
            let row = embedding.weight.get(start..start + width);
            row.ok_or_else(|| Error::shape("a token id", embedding.weight.len() / width, id))
        };
        Host.upload(&ids.iter().map(row).collect::<Result<Vec<_>>>()?.concat(), width)
    }

    fn linear(&self, x: &HostTensor, linear: &ReferenceLinear) -> Result<HostTensor> {
        let (x, width) = entries(x)?;
        if width != linear.inputs {
            return Err(Error::shape("inputs of a linear layer", linear.inputs, width));
        }
        let outputs = linear.weight.len() / width;
        let bias = |output: usize| linear.bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
        let product = |row: &[f32]| -> Vec<f32> {
            let rows = linear.weight.chunks(width).enumerate();
            rows.map(|(output, weight)| (dot(row, weight) + bias(output)) as f32).collect()
        };
        Host.upload(&x.chunks(width).flat_map(product).collect::<Vec<_>>(), outputs)
    }

    fn rms_norm(&self, x: &HostTensor, weight: &HostTensor, epsilon: f64) -> Result<HostTensor> {
        let ((x, width), (weight, run)) = (entries(x)?, entries(weight)?);
        let norm = |x: &[f32]| -> Vec<f32> {
            let scale = 1.0 / (dot(x, x) / run as f64 + epsilon).sqrt();
            x.iter().zip(&weight).map(|(x, w)| (f64::from(*x) * scale) as f32 * w).collect()
        };
        Host.upload(&x.chunks(run).flat_map(norm).collect::<Vec<_>>(), width)
    }

    fn layer_norm(
        &self,
        x: &HostTensor,
        weight: &HostTensor,
        bias: &HostTensor,
        epsilon: f64,
    ) -> Result<HostTensor> {
        let ((x, width), (weight, run), (bias, _)) = (entries(x)?, entries(weight)?, entries(bias)?);
        let norm = |x: &[f32]| -> Vec<f32> {
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / run as f64;
            let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / run as f64;
            let scale = 1.0 / (variance + epsilon).sqrt();
            let entries = x.iter().zip(&weight).zip(&bias);
            entries.map(|((x, w), b)| ((f64::from(*x) - mean) * scale) as f32 * w + b).collect()
        };
        Host.upload(&x.chunks(run).flat_map(norm).collect::<Vec<_>>(), width)
    }

    fn constant(&self, values: &[f32], width: usize) -> Result<HostTensor> {
        Host.upload(values, width)
    }

    fn rope(
        &self,
        x: &HostTensor,
        head_dim: usize,
        cos: &HostTensor,
        sin: &HostTensor,
    ) -> Result<HostTensor> {
        let ((mut x, width), (cos, pairs), (sin, _)) = (entries(x)?, entries(cos)?, entries(sin)?);
        let rows = x.chunks_mut(width).zip(cos.chunks(pairs).zip(sin.chunks(pairs)));
        for (row, (cos, sin)) in rows {
            for head in row.chunks_mut(head_dim) {
                for i in 0..pairs {
                    let (a, b) = (head[i], head[i + pairs]);
                    (head[i], head[i + pairs]) = (a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]);
                }
            }
        }
        Host.upload(&x, width)
    }

    fn attention(
        &self,
        input: AttentionInput<'_, HostTensor>,
        cache: &mut Vec<ReferenceCache>,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<HostTensor> {
        let AttentionInput { query, key, value, sinks } = input;
        let ((query, width), (key, kv_width), (value, _)) = (entries(query)?, entries(key)?, entries(value)?);
        let sinks = sinks.map(entries).transpose()?;
        let dim = spec.head_dim;
        let mut out = vec![0.0; query.len()];
        for Span { row, past, tokens } in spans {
            let ReferenceCache { kept, forgotten, length, keys, values } = &mut cache[*row];
            let new = tokens.start * kv_width..tokens.end * kv_width;
            *length = past + tokens.len();
            *forgotten = (*forgotten).min(*past).max(kept.map_or(0, |kept| past.saturating_sub(kept)));
            for (cache, new) in [(&mut *keys, &key[new.clone()]), (&mut *values, &value[new])] {
                cache.truncate(past * kv_width);
                cache.extend(new);
                cache[..*forgotten * kv_width].fill(f32::NAN);
            }
            for (position, token) in (*past..).zip(tokens.clone()) {
                let first = spec.first_seen(position);
                for head in 0..spec.heads {
                    let kv_head = head / (spec.heads / spec.kv_heads);
                    let start = |at: usize| at * kv_width + kv_head * dim;
                    let ranges: Vec<_> = (first..=position).map(|at| start(at)..start(at) + dim).collect();
                    let keys: Vec<&[f32]> = ranges.iter().map(|range| &keys[range.clone()]).collect();
                    let values: Vec<&[f32]> = ranges.iter().map(|range| &values[range.clone()]).collect();
                    let at = token * width + head * dim;
                    let sink = sinks.as_ref().map(|(sinks, _)| sinks[head]);
                    let (query, out) = (&query[at..at + dim], &mut out[at..at + dim]);
                    attend(query, [&keys, &values], sink, spec, out);
                }
            }
        }
        Host.upload(&out, width)
    }

    fn cache(&self, rows: usize, kept: Option<usize>, _: &AttentionSpec) -> Vec<ReferenceCache> {
        vec![ReferenceCache { kept, ..ReferenceCache::default() }; rows]
    }

    fn capacity(&self, cache: &Vec<ReferenceCache>, row: usize) -> usize {
        cache[row].length - cache[row].forgotten
    }

    fn select(&self, cache: &mut Vec<ReferenceCache>, rows: &[usize], _: &[usize]) -> Result<()> {
        *cache = rows.iter().map(|row| cache[*row].clone()).collect();
        Ok(())
    }

    fn shares_tokens(&self) -> bool {
        true
    }

    fn share_tokens(
        &self,
        cache: &mut Self::Cache,
        from: usize,
        to: usize,
        tokens: Range<usize>,
    ) -> Result<bool> {
        let (source, to) = (cache[from].clone(), &mut cache[to]);
        let width = source.keys.len() / source.length;
        (to.length, to.forgotten) = (tokens.end, source.forgotten);
        for (to, from) in [(&mut to.keys, source.keys), (&mut to.values, source.values)] {
            to.truncate(tokens.start * width);
            to.extend(&from[tokens.start * width..tokens.end * width]);
        }
        Ok(true)
    }

    fn add(&self, a: &HostTensor, b: &HostTensor) -> Result<HostTensor> {
        zip(a, b, |a, b| a + b)
    }

    fn scale(&self, x: &HostTensor, factor: f32) -> Result<HostTensor> {
        map(x, |x| x * factor)
    }

    fn scale_rows(&self, x: &HostTensor, factors: &[f32]) -> Result<HostTensor> {
        let (x, width) = entries(x)?;
        let rows = x.chunks(width).zip(factors);
        Host.upload(
            &rows.flat_map(|(row, factor)| row.iter().map(move |x| x * factor)).collect::<Vec<_>>(),
            width,
        )
    }

    fn scale_columns(&self, x: &HostTensor, factors: &HostTensor) -> Result<HostTensor> {
        let ((x, width), (factors, _)) = (entries(x)?, entries(factors)?);
        let row = |row: &[f32]| row.iter().zip(&factors).map(|(x, factor)| x * factor).collect::<Vec<_>>();
        Host.upload(&x.chunks(width).flat_map(row).collect::<Vec<_>>(), width)
    }

    fn softcap(&self, x: &HostTensor, cap: f32) -> Result<HostTensor> {
        map(x, |x| cap * (x / cap).tanh())
    }

    fn activate(&self, x: &HostTensor, activation: Activation) -> Result<HostTensor> {
        map(x, |x| activated(x, activation))
    }

    fn gated(&self, gate: &HostTensor, up: &HostTensor, activation: Activation) -> Result<HostTensor> {
        zip(gate, up, |gate, up| activated(gate, activation) * gate_factor(up, activation))
    }

    fn columns(&self, x: &HostTensor, columns: Range<usize>) -> Result<HostTensor> {
        let (x, width) = entries(x)?;
        if columns.end > width {
            return Err(Error::shape("columns", width, columns.end));
        }
        let taken: Vec<f32> = x.chunks(width).flat_map(|row| &row[columns.clone()]).copied().collect();
        Host.upload(&taken, columns.len())
    }

    fn rows(&self, x: &HostTensor, rows: &[usize]) -> Result<HostTensor> {
        let (x, width) = entries(x)?;
        let taken: Vec<f32> = rows.iter().flat_map(|row| &x[row * width..][..width]).copied().collect();
        Host.upload(&taken, width)
    }

    fn add_rows(&self, x: &HostTensor, rows: &[usize], added: &HostTensor) -> Result<HostTensor> {
        let ((mut x, width), (added, _)) = (entries(x)?, entries(added)?);
        for (row, added) in rows.iter().zip(added.chunks(width)) {
            x[row * width..][..width].iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
        Host.upload(&x, width)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{check_adapters, check_failures, check_families, check_products, check_windows};
    use super::*;

    #[test]
    fn families_are_those_of_transformers() {
        check_families(&ReferenceNn).unwrap();
    }

    #[test]
    fn adapters_are_those_of_peft() {
        check_adapters(&ReferenceNn).unwrap();
    }

    #[test]
    fn calls_that_fail_change_nothing() {
        check_failures(&ReferenceNn).unwrap();
    }

    #[test]
    fn caches_of_windows_do_not_grow() {
        check_windows(&ReferenceNn).unwrap();
    }

    #[test]
    fn products_are_exact() {
        check_products(&ReferenceNn, 1e-6).unwrap();
    }
}
