//! Attention of each row of a batch over its own cache, and soft-capping.
use eft_models::spec::AttentionSpec;
use eft_models::{AttentionInput, Span};
use tch::{Kind, TchError, Tensor};

use super::cache::LayerCache;

type Result<T = Tensor> = std::result::Result<T, TchError>;

/// Appends keys and values to the cache, and attends from each span's queries to its row. Nothing is padded.
///
/// Query, key and value are tokens × (heads · head width); so is the result.
pub(super) fn attend(
    input: AttentionInput<'_, Tensor>,
    cache: &mut LayerCache,
    spans: &[Span],
    spec: &AttentionSpec,
) -> Result {
    let AttentionInput { query, key, value, sinks } = input;
    let mut attended = spans
        .iter()
        .map(|span| {
            let tokens = span.tokens.len() as i64;
            let part = |x: &Tensor| x.f_narrow(0, span.tokens.start as i64, tokens);
            // Keys before those that the first query sees are not needed by any query.
            let first = spec.first_seen(span.past);
            let (keys, values) = (by_head(&part(key)?, spec)?, by_head(&part(value)?, spec)?);
            let seen = cache.row(span.row).append(span.past, first, [&keys, &values])?;
            attend_row(&part(query)?, &seen, sinks, [first, span.past], spec)
        })
        .collect::<Result<Vec<_>>>()?;
    match attended.len() {
        1 => Ok(attended.remove(0)),
        _ => Tensor::f_cat(&attended, 0),
    }
}

/// Reshapes (tokens, heads · width) to (heads, tokens, width).
fn by_head(x: &Tensor, spec: &AttentionSpec) -> Result {
    x.f_reshape([x.size2()?.0, spec.kv_heads as i64, spec.head_dim as i64])?.f_transpose(0, 1)
}

/// Attention of one row. The keys are those from position `first` on; `past` is the position of the first query.
fn attend_row(
    query: &Tensor,
    [keys, values]: &[Tensor; 2],
    sinks: Option<&Tensor>,
    [first, past]: [usize; 2],
    spec: &AttentionSpec,
) -> Result {
    let (tokens, columns) = query.size2()?;
    let (kv_heads, width) = (spec.kv_heads as i64, spec.head_dim as i64);
    let groups = (spec.heads / spec.kv_heads) as i64;
    // All queries that share a key head become rows of one product (grouped-query attention).
    let query = query.f_reshape([tokens, kv_heads, groups, width])?.f_permute([1, 2, 0, 3])?;
    let query = query.f_reshape([kv_heads, groups * tokens, width])?;
    let mask =
        if tokens > 1 { Some(mask(&query, tokens, keys.size()[1], [first, past], spec)?) } else { None };
    let attended = match (spec.softcap, sinks) {
        (None, None) => {
            let one = |x: &Tensor| x.f_unsqueeze(0);
            let scale = f64::from(spec.scale);
            Tensor::f_scaled_dot_product_attention(
                &one(&query)?,
                &one(keys)?,
                &one(values)?,
                mask.as_ref(),
                0.0,
                false,
                scale,
                false,
            )?
        }
        (cap, sinks) => {
            let mut scores = query.f_bmm(&keys.f_transpose(1, 2)?)?.f_mul_scalar(f64::from(spec.scale))?;
            if let Some(cap) = cap {
                scores = softcap(&scores, cap)?;
            }
            if let Some(mask) = &mask {
                scores = scores.f_add_(mask)?;
            }
            let seen = scores.size()[2];
            if let Some(sinks) = sinks {
                // The sink of a head is a further column of its scores.
                let sinks =
                    sinks.f_reshape([kv_heads, groups, 1])?.f_expand([kv_heads, groups, tokens], false)?;
                scores = Tensor::f_cat(&[&scores, &sinks.f_reshape([kv_heads, groups * tokens, 1])?], 2)?;
            }
            // The softmax is computed in f32, whatever the type.
            let weights = scores.f_softmax(-1, Kind::Float)?.f_totype(values.f_kind()?)?;
            weights.f_narrow(2, 0, seen)?.f_bmm(values)?
        }
    };
    attended.f_view([kv_heads, groups, tokens, width])?.f_permute([2, 0, 1, 3])?.f_reshape([tokens, columns])
}

/// 0 where a query sees a key and −∞ elsewhere, (groups · tokens) × `keys`.
fn mask(like: &Tensor, tokens: i64, keys: i64, [first, past]: [usize; 2], spec: &AttentionSpec) -> Result {
    let groups = (spec.heads / spec.kv_heads) as i64;
    let before = (past - first) as i64;
    let all = Tensor::f_full([tokens, keys], f64::NEG_INFINITY, (like.f_kind()?, like.device()))?;
    // Masked are keys after the query's own, and keys before its window or its chunk.
    let mut mask = all.f_triu(before + 1)?;
    if let Some(window) = spec.window {
        mask = mask.f_add_(&all.f_tril(before - window as i64)?)?;
    }
    if let Some(chunk) = spec.chunk {
        let ends = (past + 1..past + tokens as usize).filter(|query| query.is_multiple_of(chunk));
        for end in ends {
            // The queries from a chunk's beginning on do not see what is before it.
            let (query, key) = ((end - past) as i64, end.saturating_sub(first) as i64);
            let mut hidden = mask.f_narrow(0, query, tokens - query)?.f_narrow(1, 0, key)?;
            let _ = hidden.f_fill_(f64::NEG_INFINITY)?;
        }
    }
    mask.f_repeat([groups, 1])
}

/// Soft-capping: `cap·tanh(x / cap)`.
pub(super) fn softcap(x: &Tensor, cap: f32) -> Result {
    x.f_div_scalar(f64::from(cap))?.f_tanh_()?.f_mul_scalar(f64::from(cap))
}
