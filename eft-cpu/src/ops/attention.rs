//! The attention of a few queries to the keys and values of one head.
use std::array;
use std::ops::Range;

use eft_core::host::math::exp;
use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, f32x8};

use super::pages::{Pages, Run};
use super::stored::Unit;
use super::{Heads, sum_of_each};
use crate::level::{Dot, Kernel};

/// The number of queries that are computed together, so that keys and values are read once for all of them.
pub(super) const TILE: usize = 4;

/// One head of one new token.
pub(super) struct Query<'a> {
    /// As wide as keys are in the cache: their missing columns are 0.
    pub(super) query: &'a [f32],
    /// The positions that it attends to.
    pub(super) seen: Range<usize>,
    /// The logit of its head's sink; −∞ without one.
    pub(super) sink: f32,
}

/// The attention of one to [`TILE`] queries to the keys and values of one head.
/// What all queries see is read once for all of them. Each result equals, to the last bit, that of the query alone.
pub(super) struct Attention<'a, 'b, U> {
    pub(super) queries: &'a [Query<'b>],
    pub(super) pages: &'a Pages<U>,
    pub(super) kv_head: usize,
    pub(super) spec: &'a Heads<'a>,
    pub(super) scratch: &'a mut Vec<f32>,
    /// A row for each query, as wide as a head.
    pub(super) out: &'a mut [f32],
}

impl<U: Unit> Kernel for Attention<'_, '_, U> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        // Each computes at least four sums at a time, most of them eight: their operands fit the registers of AVX2, and
        // hide the time that an addition takes.
        match (self.queries.len(), D::GROUPS) {
            (1, 2) => self.tile::<S, D, 16, 1, 4, 8>(simd),
            (3, 2) => self.tile::<S, D, 16, 3, 4, 4>(simd),
            (_, 2) => self.tile::<S, D, 16, TILE, 4, 4>(simd),
            (1, _) => self.tile::<S, D, 8, 1, 4, 8>(simd),
            (_, _) => self.tile::<S, D, 8, TILE, 2, 2>(simd),
        }
    }
}

impl<U: Unit> Attention<'_, '_, U> {
    /// Computes `Q` queries at a time, with `K` keys or with `LANES·N` columns of values. If there are fewer queries, the
    /// last one is computed several times.
    #[inline(always)]
    fn tile<S: Simd, D: Dot<S>, const LANES: usize, const Q: usize, const K: usize, const N: usize>(
        self,
        simd: S,
    ) {
        let Self { queries, pages, kv_head, spec, scratch, out } = self;
        // A head as wide as it is in the cache.
        let (width, last) = (queries[0].query.len(), queries.len() - 1);
        let units = width / U::ENTRIES;
        // The positions that all queries see, and those that a query sees before and after them.
        let start = queries.iter().fold(0, |start, query| start.max(query.seen.start));
        let end = queries.iter().fold(usize::MAX, |end, query| end.min(query.seen.end)).max(start);
        let before = |seen: &Range<usize>| seen.start..start.min(seen.end);
        let after = |seen: &Range<usize>| end.min(seen.end)..seen.end;

        let room = queries.iter().fold(0, |room, query| room.max(query.seen.len()));
        scratch.clear();
        scratch.resize(Q * (room + width), 0.0);
        let (scores, sums) = scratch.split_at_mut(Q * room);
        let shared: [usize; Q] = array::from_fn(|q| q * room + before(&queries[q.min(last)].seen).len());
        let tile: [&[f32]; Q] = array::from_fn(|q| queries[q.min(last)].query);
        for Run { tokens, keys, .. } in pages.seen(kv_head, start..end, units) {
            let to = array::from_fn(|q| shared[q] + tokens.start);
            products::<S, D, U, LANES, Q, K>(simd, tile, keys, spec.scale, scores, to);
        }
        // A query alone sees nothing else.
        for (q, Query { query, seen, .. }) in queries.iter().enumerate().filter(|_| Q > 1) {
            for part in [before(seen), after(seen)] {
                let first = q * room + part.start - seen.start;
                for Run { tokens, keys, .. } in pages.seen(kv_head, part, units) {
                    let to = [first + tokens.start];
                    products::<S, D, U, LANES, 1, 4>(simd, [query], keys, spec.scale, scores, to);
                }
            }
        }

        let mut factors = [1.0; Q];
        for (q, (query, scores)) in queries.iter().zip(scores.chunks_exact_mut(room)).enumerate() {
            let scores = &mut scores[..query.seen.len()];
            factors[q] = 1.0 / exponentials(simd, scores, spec.softcap, query.sink);
        }

        for (q, Query { seen, .. }) in queries.iter().enumerate().filter(|_| Q > 1) {
            let (weights, sums) = (&scores[q * room..], &mut sums[q * width..][..width]);
            for Run { tokens, values, .. } in pages.seen(kv_head, before(seen), units) {
                weighted::<S, D, U, LANES, 1, 8>(simd, [&weights[tokens]], values, sums);
            }
        }
        for Run { tokens, values, .. } in pages.seen(kv_head, start..end, units) {
            let weights: [&[f32]; Q] = array::from_fn(|q| &scores[shared[q]..][tokens.clone()]);
            weighted::<S, D, U, LANES, Q, N>(simd, weights, values, sums);
        }
        for (q, (Query { seen, .. }, out)) in
            queries.iter().zip(out.chunks_exact_mut(spec.head_dim)).enumerate()
        {
            let (part, sums) = (after(seen), &mut sums[q * width..][..width]);
            if Q > 1 {
                let weights = &scores[q * room + part.start - seen.start..];
                for Run { tokens, values, .. } in pages.seen(kv_head, part, units) {
                    weighted::<S, D, U, LANES, 1, 8>(simd, [&weights[tokens]], values, sums);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = factors[q] * *sum;
            }
        }
    }
}

/// Computes `factor·query·keyᵢ` for every query and key. Those of the query `q` are written from `to[q]` on.
#[inline(always)]
fn products<S: Simd, D: Dot<S>, U: Unit, const LANES: usize, const Q: usize, const K: usize>(
    simd: S,
    queries: [&[f32]; Q],
    keys: &[U],
    factor: f32,
    out: &mut [f32],
    to: [usize; Q],
) {
    let units = queries[0].len() / U::ENTRIES;
    let (count, parts) = (keys.len() / units, U::ENTRIES / LANES);
    let queries = queries.map(|query| &query.as_chunks::<LANES>().0[..units * parts]);
    for start in (0..count).step_by(K) {
        // After the last key, it is computed again.
        let keys: [&[U]; K] = array::from_fn(|k| &keys[(start + k).min(count - 1) * units..][..units]);
        let zero = D::Floats::simd_from(simd, 0.0);
        let mut sums = [[zero; K]; Q];
        for unit in 0..units {
            for part in 0..parts {
                let mut key = [zero; K];
                for k in 0..K {
                    key[k] = keys[k][unit].floats::<S, D, LANES>(simd, part);
                }
                for q in 0..Q {
                    let query = D::Floats::from_slice(simd, &queries[q][unit * parts + part]);
                    for k in 0..K {
                        sums[q][k] = key[k].mul_add(query, sums[q][k]);
                    }
                }
            }
        }
        for (four, [a, b, c, d]) in sums.as_flattened().as_chunks::<4>().0.iter().enumerate() {
            // Not by `map`: the body of a closure is not compiled for the chosen vector instructions.
            let four_sums =
                [D::folded(simd, *a), D::folded(simd, *b), D::folded(simd, *c), D::folded(simd, *d)];
            let four_sums = sum_of_each(four_sums) * factor;
            if K == 4 && start + K <= count {
                four_sums.store_slice(&mut out[to[four] + start..][..4]);
                continue;
            }
            for (i, sum) in four_sums.to_array().into_iter().enumerate() {
                let (q, k) = ((4 * four + i) / K, (4 * four + i) % K);
                if start + k < count {
                    out[to[q] + start + k] = sum;
                }
            }
        }
    }
}

/// Replaces scores by exponentials, the largest of which is 1, also among the sink's, and returns the sum of all.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, scores: &mut [f32], softcap: Option<f32>, sink: f32) -> f32 {
    cap(scores, softcap);
    let largest = largest(simd, scores).max(sink);
    exponentials_below(simd, scores, largest)
        + if sink == f32::NEG_INFINITY { 0.0 } else { exp(sink - largest) }
}

/// Applies the soft cap, if there is one.
#[inline(always)]
pub(super) fn cap(scores: &mut [f32], softcap: Option<f32>) {
    if let Some(cap) = softcap {
        for score in scores.iter_mut() {
            *score = cap * (*score / cap).tanh();
        }
    }
}

/// Replaces scores by exponentials of their distance from the largest, and returns their sum.
#[inline(always)]
pub(super) fn exponentials_below<S: Simd>(simd: S, scores: &mut [f32], largest: f32) -> f32 {
    // A NaN score stays NaN, and makes the sum NaN.
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    sum(simd, scores)
}

#[inline(always)]
pub(super) fn largest<S: Simd>(simd: S, scores: &[f32]) -> f32 {
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

/// Adds `Σ weightᵢ·valueᵢ` to the sums of each query, one row after another.
#[inline(always)]
fn weighted<S: Simd, D: Dot<S>, U: Unit, const LANES: usize, const Q: usize, const N: usize>(
    simd: S,
    weights: [&[f32]; Q],
    values: &[U],
    sums: &mut [f32],
) {
    let parts = sums.len() / Q / LANES;
    let mut done = 0;
    while done + N <= parts {
        columns::<S, D, U, LANES, Q, N>(simd, weights, values, done, sums);
        done += N;
    }
    // Heads of 32 to 64 columns are common in small models.
    while N > 4 && done + 4 <= parts {
        columns::<S, D, U, LANES, Q, 4>(simd, weights, values, done, sums);
        done += 4;
    }
    while N > 2 && done + 2 <= parts {
        columns::<S, D, U, LANES, Q, 2>(simd, weights, values, done, sums);
        done += 2;
    }
    while done < parts {
        columns::<S, D, U, LANES, Q, 1>(simd, weights, values, done, sums);
        done += 1;
    }
}

/// The same for `LANES·N` columns, from the `LANES` number `start` on.
#[inline(always)]
fn columns<S: Simd, D: Dot<S>, U: Unit, const LANES: usize, const Q: usize, const N: usize>(
    simd: S,
    weights: [&[f32]; Q],
    values: &[U],
    start: usize,
    sums: &mut [f32],
) {
    let (width, parts) = (sums.len() / Q, U::ENTRIES / LANES);
    let zero = D::Floats::simd_from(simd, 0.0);
    let mut all = [[zero; N]; Q];
    for q in 0..Q {
        for n in 0..N {
            all[q][n] = D::Floats::from_slice(simd, &sums[q * width + LANES * (start + n)..][..LANES]);
        }
    }
    let units = width / U::ENTRIES;
    let count = values.len() / units;
    let weights = weights.map(|weights| &weights[..count]);
    let (first, end) = (start / parts, (start + N).div_ceil(parts));
    for (i, value) in values.chunks_exact(units).enumerate() {
        let value = &value[first..end];
        let mut part = [zero; N];
        for (n, part) in part.iter_mut().enumerate() {
            let at = start % parts + n;
            *part = value[at / parts].floats::<S, D, LANES>(simd, at % parts);
        }
        for q in 0..Q {
            let weight = weights[q][i];
            for n in 0..N {
                all[q][n] = part[n].mul_add(weight, all[q][n]);
            }
        }
    }
    for q in 0..Q {
        for n in 0..N {
            all[q][n].store_slice(&mut sums[q * width + LANES * (start + n)..][..LANES]);
        }
    }
}
