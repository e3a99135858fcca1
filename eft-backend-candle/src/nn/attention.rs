use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use candle_nn::ops;
use eft_models::spec::AttentionSpec;
use eft_models::{AttentionInput, Span};

use super::cache::Rows;
use super::{LayerCache, host};

/// Computes the attention of each span to its own row of the cache. Nothing is padded.
pub(super) fn attend(
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
            attend_row(&part(query)?, &seen, sinks, [first, span.past], spec)
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
        let mask = mask(tokens, first..first + seen, past, spec).repeat(groups);
        let mask =
            Tensor::from_vec(mask, (groups * tokens, seen), scores.device())?.to_dtype(scores.dtype())?;
        scores = scores.broadcast_add(&mask)?;
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
fn mask(tokens: usize, keys: Range<usize>, past: usize, spec: &AttentionSpec) -> Vec<f32> {
    let of_query = |query: usize| {
        let seen = spec.first_seen(query)..query + 1;
        keys.clone().map(move |key| if seen.contains(&key) { 0.0 } else { f32::NEG_INFINITY })
    };
    (past..past + tokens).flat_map(of_query).collect()
}

/// Computes `cap·tanh(x / cap)`.
pub(super) fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    (x / f64::from(cap))?.tanh()? * f64::from(cap)
}
