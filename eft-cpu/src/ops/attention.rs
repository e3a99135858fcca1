//! Attention of new tokens to the KV cache of their row.
use eft_core::host::math::exp;
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x8};
use rayon::prelude::*;

use super::{Heads, RowCache, sum_of_each};
use crate::level::{self, Dot, Kernel};
use crate::runs_in_parallel;

/// The number of multiplications from which attention is split over threads.
const PARALLEL_THRESHOLD: usize = 1 << 18;

/// Appends the keys and values of new tokens to the cache of their row, after its first `past` tokens, and computes the
/// attention of each new token to itself and the tokens before it that are within the window. `query`, `key`, `value`
/// and `out` have one row for each new token, with the heads side by side.
///
/// ```
/// use eft_cpu::ops::{Heads, RowCache, attend};
/// use eft_models::spec::Reach;
///
/// let (scale, softcap, reach) = (1.0, None, Reach::default());
/// let mut spec = Heads { heads: 1, kv_heads: 1, head_dim: 2, scale, softcap, reach, sinks: None };
/// let (mut cache, mut out) = (RowCache::default(), [0.0; 2]);
/// // A token that attends to itself alone returns its value.
/// attend(&[1.0, 0.0], &[1.0, 0.0], &[3.0, 4.0], 0, &mut cache, &spec, &mut out);
/// assert_eq!(out, [3.0, 4.0]);
/// // A sink with the same logit takes half of the weight.
/// spec.sinks = Some(&[1.0]);
/// attend(&[1.0, 0.0], &[1.0, 0.0], &[3.0, 4.0], 0, &mut cache, &spec, &mut out);
/// assert_eq!(out, [1.5, 2.0]);
/// ```
///
/// # Panics
/// If a slice does not have the length that `spec` and the number of tokens imply.
pub fn attend(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    past: usize,
    cache: &mut RowCache,
    spec: &Heads<'_>,
    out: &mut [f32],
) {
    cache.append(past, key, value, spec);
    let columns = spec.heads * spec.head_dim;
    let tokens = query.len() / columns;
    let heads = out.chunks_exact_mut(columns).enumerate().flat_map(|(token, out)| {
        let query = &query[token * columns..(token + 1) * columns];
        let heads = query.chunks_exact(spec.head_dim).zip(out.chunks_exact_mut(spec.head_dim)).enumerate();
        heads.map(move |(head, (query, out))| (token, head, query, out))
    });
    let cache = &*cache;
    let attend = |scores: &mut Vec<f32>, (token, head, query, out): (usize, usize, _, _)| {
        let seen = past + token + 1;
        let first = spec.reach.first(past + token);
        let (keys, values) = cache.seen(head / (spec.heads / spec.kv_heads), first..seen, spec.head_dim);
        let sink = spec.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head]);
        level::run(Attention { query, keys, values, spec, sink, scores, out });
    };
    if runs_in_parallel(tokens * columns * (past + tokens), PARALLEL_THRESHOLD) {
        heads.collect::<Vec<_>>().into_par_iter().for_each_init(Vec::new, attend);
    } else {
        let mut scores = Vec::new();
        heads.for_each(|head| attend(&mut scores, head));
    }
}

/// The attention of one head of one token.
struct Attention<'a> {
    query: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    spec: &'a Heads<'a>,
    /// The logit of the sink; −∞ without one.
    sink: f32,
    scores: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl Kernel for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        let Self { query, keys, values, spec, sink, scores, out } = self;
        let width = query.len();
        scores.clear();
        scores.resize(keys.len() / width, 0.0);
        products(simd, query, keys, spec.scale, scores);
        if let Some(cap) = spec.softcap {
            for score in scores.iter_mut() {
                *score = cap * (*score / cap).tanh();
            }
        }
        let largest = largest(simd, scores).max(sink);
        // A NaN score stays NaN, and makes the sum NaN.
        for score in scores.iter_mut() {
            *score = exp(*score - largest);
        }
        let sum = sum(simd, scores) + if sink == f32::NEG_INFINITY { 0.0 } else { exp(sink - largest) };
        weighted(simd, scores, values, 1.0 / sum, out);
    }
}

/// Computes `factor·query·keyᵢ` for every key, four keys at a time.
#[inline(always)]
fn products<S: Simd>(simd: S, query: &[f32], keys: &[f32], factor: f32, out: &mut [f32]) {
    let width = query.len();
    for (keys, out) in keys.chunks(4 * width).zip(out.chunks_mut(4)) {
        let (whole, query_rest) = query.as_chunks::<8>();
        let mut sums = [f32x8::splat(simd, 0.0); 4];
        if out.len() == 4 {
            let (a, rest) = keys.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            let (a, b, c, d) =
                (a.as_chunks::<8>().0, b.as_chunks::<8>().0, c.as_chunks::<8>().0, d.as_chunks::<8>().0);
            let keys = a.iter().zip(b).zip(c.iter().zip(d));
            for (query, ((a, b), (c, d))) in whole.iter().zip(keys) {
                let query = f32x8::from_slice(simd, query);
                sums[0] = f32x8::from_slice(simd, a).mul_add(query, sums[0]);
                sums[1] = f32x8::from_slice(simd, b).mul_add(query, sums[1]);
                sums[2] = f32x8::from_slice(simd, c).mul_add(query, sums[2]);
                sums[3] = f32x8::from_slice(simd, d).mul_add(query, sums[3]);
            }
        } else {
            for (key, sum) in keys.chunks_exact(width).zip(&mut sums) {
                for (query, key) in whole.iter().zip(key.as_chunks::<8>().0) {
                    let query = f32x8::from_slice(simd, query);
                    *sum = f32x8::from_slice(simd, key).mul_add(query, *sum);
                }
            }
        }
        let sums = sum_of_each(sums[0], sums[1], sums[2], sums[3]);
        for ((key, out), mut sum) in keys.chunks_exact(width).zip(out).zip(sums) {
            for (query, key) in query_rest.iter().zip(&key[8 * whole.len()..]) {
                sum += query * key;
            }
            *out = factor * sum;
        }
    }
}

#[inline(always)]
fn largest<S: Simd>(simd: S, scores: &[f32]) -> f32 {
    let (eights, rest) = scores.as_chunks::<8>();
    let mut largest = f32x8::splat(simd, f32::NEG_INFINITY);
    for scores in eights {
        largest = largest.max(f32x8::from_slice(simd, scores));
    }
    rest.iter().fold(largest.reduce_max(), |largest, score| if *score > largest { *score } else { largest })
}

#[inline(always)]
fn sum<S: Simd>(simd: S, weights: &[f32]) -> f32 {
    let (eights, rest) = weights.as_chunks::<8>();
    let mut sums = f32x8::splat(simd, 0.0);
    for weights in eights {
        sums += f32x8::from_slice(simd, weights);
    }
    rest.iter().fold(sums.reduce_sum(), |sum, weight| sum + weight)
}

/// Computes `factor·Σ weightᵢ·valueᵢ`.
#[inline(always)]
fn weighted<S: Simd>(simd: S, weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]) {
    let width = out.len();
    let mut done = 0;
    while done + 32 <= width {
        lanes::<S, 4>(simd, weights, values, factor, done, out);
        done += 32;
    }
    while done + 8 <= width {
        lanes::<S, 1>(simd, weights, values, factor, done, out);
        done += 8;
    }
    for (i, out) in out.iter_mut().enumerate().skip(done) {
        let mut sum = 0.0;
        for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
            sum += weight * value[i];
        }
        *out = factor * sum;
    }
}

/// The same for `8·N` columns from `start` on.
#[inline(always)]
fn lanes<S: Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    values: &[f32],
    factor: f32,
    start: usize,
    out: &mut [f32],
) {
    let width = out.len();
    // Two sums for each column, so that consecutive products do not depend on each other.
    let (mut sums, mut others) = ([f32x8::splat(simd, 0.0); N], [f32x8::splat(simd, 0.0); N]);
    let (pairs, last) = weights.as_chunks::<2>();
    for (weights, values) in pairs.iter().zip(values.chunks_exact(2 * width)) {
        let (first, second) = (f32x8::splat(simd, weights[0]), f32x8::splat(simd, weights[1]));
        for n in 0..N {
            let at = start + 8 * n;
            sums[n] = f32x8::from_slice(simd, &values[at..at + 8]).mul_add(first, sums[n]);
            let at = width + at;
            others[n] = f32x8::from_slice(simd, &values[at..at + 8]).mul_add(second, others[n]);
        }
    }
    if let [weight] = last {
        let value = &values[(weights.len() - 1) * width..][start..start + 8 * N];
        for (sum, value) in sums.iter_mut().zip(value.chunks_exact(8)) {
            *sum = f32x8::from_slice(simd, value).mul_add(f32x8::splat(simd, *weight), *sum);
        }
    }
    for n in 0..N {
        let at = start + 8 * n;
        ((sums[n] + others[n]) * factor).store_slice(&mut out[at..at + 8]);
    }
}

#[cfg(test)]
mod tests {
    use eft_models::spec::Reach;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::levels;

    fn spec(width: usize, softcap: Option<f32>) -> Heads<'static> {
        let (scale, reach) = (0.3, Reach::default());
        Heads { heads: 1, kv_heads: 1, head_dim: width, scale, softcap, reach, sinks: None }
    }

    /// Attention by its definition, in f64.
    fn exact(query: &[f32], keys: &[f32], values: &[f32], spec: &Heads<'_>, sink: f32) -> Vec<f64> {
        let width = query.len();
        let score = |key: &[f32]| {
            let product: f64 = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
            let score = f64::from(spec.scale) * product;
            spec.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh()).exp()
        };
        let weights: Vec<_> = keys.chunks(width).map(score).collect();
        let sum = weights.iter().sum::<f64>() + f64::from(sink).exp();
        let value = |i| weights.iter().zip(values.chunks(width)).map(move |(w, v)| w * f64::from(v[i]) / sum);
        (0..width).map(|i| value(i).sum()).collect()
    }

    proptest! {
        #[test]
        fn attention_is_a_mean_of_values(
            numbers in prop::collection::vec(-1.0f32..1.0, 80 + 2 * 80 * 23),
            (width, count) in (1usize..80, 1usize..24),
            softcap in prop::option::of(1.0f32..5.0),
            sink in prop_oneof![Just(f32::NEG_INFINITY), -30.0f32..30.0],
            nan_at in any::<prop::sample::Index>(),
        ) {
            let (query, rest) = numbers.split_at(width);
            let (keys, values) = (&rest[..count * width], &rest[count * width..2 * count * width]);
            let spec = spec(width, softcap);
            let expected = exact(query, keys, values, &spec, sink);
            let mut broken = keys.to_vec();
            broken[nan_at.index(keys.len())] = f32::NAN;
            for level in levels() {
                let run = |keys: &[f32]| {
                    let (mut scores, mut out) = (Vec::new(), vec![0.0; width]);
                    let (spec, scores) = (&spec, &mut scores);
                    let out_of = Attention { query, keys, values, spec, sink, scores, out: &mut out };
                    level::run_at(level, out_of);
                    out
                };
                for (got, expected) in run(keys).iter().zip(&expected) {
                    prop_assert!((f64::from(*got) - expected).abs() < 1e-5, "{level:?}: {got}, {expected}");
                }
                prop_assert!(run(&broken).iter().all(|x| x.is_nan()), "{level:?}: a NaN was lost");
            }
        }
    }
}
