use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use candle_nn::ops;
use eft_models::spec::AttentionSpec;
use eft_models::{AttentionInput, Span};

use super::cache::Rows;
use super::{LayerCache, host};
use crate::backend::constants::Constants;
use crate::backend::tensor::{scalar, where_cond};

/// Computes the attention of each span to its own row of the cache. Nothing is padded.
pub(super) fn attend(
    constants: &Constants,
    input: AttentionInput<'_, Tensor>,
    cache: &mut LayerCache,
    spans: &[Span],
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let rows = match &mut cache.0 {
        Rows::Host(rows) => return host::attend(input, rows, spans, spec),
        Rows::Device(rows) => rows,
    };
    let AttentionInput { query, key, value, sinks } = input;
    let attended: Vec<_> = spans
        .iter()
        .map(|span| {
            let part = |x: &Tensor| x.narrow(0, span.tokens.start, span.tokens.len());
            // No query of the span sees keys before the first one that the first query sees.
            let first = spec.first_seen(span.past);
            let keys = by_head(&part(key)?, spec)?;
            let values = by_head(&part(value)?, spec)?;
            let seen = rows[span.row].append(span.past, first, [&keys, &values])?;
            attend_row(constants, &part(query)?, &seen, sinks, [first, span.past], spec)
        })
        .collect::<Result<_>>()?;
    match &attended[..] {
        [one] => Ok(one.clone()),
        _ => Tensor::cat(&attended, 0),
    }
}

/// Reshapes (tokens, heads · width) to (heads, tokens, width).
fn by_head(x: &Tensor, spec: &AttentionSpec) -> Result<Tensor> {
    x.reshape((x.dim(0)?, spec.kv_heads, spec.head_dim))?.transpose(0, 1)?.contiguous()
}

/// Computes the attention of one row. The keys are those from position `first` on; `past` is the position of the first query.
fn attend_row(
    constants: &Constants,
    query: &Tensor,
    [keys, values]: &[Tensor; 2],
    sinks: Option<&Tensor>,
    [first, past]: [usize; 2],
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let tokens = query.dim(0)?;
    let seen = keys.dim(1)?;
    let (groups, width) = (spec.heads / spec.kv_heads, spec.head_dim);
    // All queries that share a key head are multiplied with it in one product.
    let query = query.reshape((tokens, spec.kv_heads, groups, width))?.permute((1, 2, 0, 3))?.contiguous()?;
    let query = query.reshape((spec.kv_heads, groups * tokens, width))?;
    let mut scores = (query.matmul(&keys.t()?)? * f64::from(spec.scale))?;
    if let Some(cap) = spec.softcap {
        scores = softcap(&scores, cap)?;
    }
    if tokens > 1 {
        let mask = mask(constants, tokens, first..first + seen, past, spec)?.to_dtype(scores.dtype())?;
        let by_group = scores.reshape((spec.kv_heads, groups, tokens, seen))?.broadcast_add(&mask)?;
        scores = by_group.reshape((spec.kv_heads, groups * tokens, seen))?;
    }
    if let Some(sinks) = sinks {
        // The sink of a head is a further column of its scores.
        let sinks = sinks.reshape((spec.kv_heads, groups, 1))?;
        let sinks = sinks.broadcast_as((spec.kv_heads, groups, tokens))?;
        scores = Tensor::cat(&[&scores, &sinks.reshape((spec.kv_heads, groups * tokens, 1))?], 2)?;
    }
    // The softmax is computed in f32 for every type of activations.
    let weights = ops::softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(values.dtype())?;
    let weights = if sinks.is_some() { weights.narrow(2, 0, seen)?.contiguous()? } else { weights };
    let attended = weights.matmul(values)?.reshape((spec.kv_heads, groups, tokens, width))?;
    attended.permute((2, 0, 1, 3))?.contiguous()?.flatten_from(1)
}

/// Returns the attention mask, queries × keys: 0 where a query sees a key, −∞ elsewhere. `keys` are the positions of the keys.
///
/// It is computed on the device: to send it for each layer would take longer than the layer.
fn mask(
    constants: &Constants,
    tokens: usize,
    keys: Range<usize>,
    past: usize,
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let positions = constants.ids(past + tokens)?;
    let key = positions.narrow(1, keys.start, keys.len())?;
    let query = positions.narrow(1, past, tokens)?.reshape((tokens, 1))?;
    let (zero, hidden) = (scalar(0f32, &key)?, scalar(f32::NEG_INFINITY, &key)?);
    let mask = where_cond(&key.broadcast_le(&query)?, &zero, &hidden)?;
    if spec.window.is_none() && spec.chunk.is_none() {
        return Ok(mask);
    }
    let first: Vec<_> = (past..past + tokens).map(|query| spec.first_seen(query) as u32).collect();
    let first = Tensor::from_vec(first, (tokens, 1), key.device())?;
    where_cond(&key.broadcast_ge(&first)?, &mask, &hidden)
}

/// Computes `cap·tanh(x / cap)`.
pub(super) fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    (x / f64::from(cap))?.tanh()? * f64::from(cap)
}
