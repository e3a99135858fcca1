//! Attention of new tokens to a cache of their row.
use eft_core::host::exp;
use eft_models::spec::AttentionSpec;
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x8};
use rayon::prelude::*;

use super::dot;
use crate::cpu::level::{self, Dot, Kernel};

/// Room for so many tokens at first.
const ROOM: usize = 64;

/// Products that are worth waking another thread for.
const WORTH: usize = 1 << 18;

/// Keys and values of one row: for each key head, room for so many tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowCache {
    room: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl RowCache {
    /// Writes tokens behind the `past` ones that count: rows of all heads.
    fn append(&mut self, past: usize, keys: &[f32], values: &[f32], spec: &AttentionSpec) {
        let (heads, width) = (spec.kv_heads, spec.head_dim);
        let needed = past + keys.len() / (heads * width);
        if self.room < needed {
            // Room doubles, so that growing costs a constant number of copies a token.
            let room = needed.max(2 * self.room).max(ROOM);
            for old in [&mut self.keys, &mut self.values] {
                let mut grown = vec![0.0; heads * room * width];
                if self.room > 0 {
                    for (grown, old) in grown.chunks_mut(room * width).zip(old.chunks(self.room * width)) {
                        grown[..past * width].copy_from_slice(&old[..past * width]);
                    }
                }
                *old = grown;
            }
            self.room = room;
        }
        for (new, all) in [(keys, &mut self.keys), (values, &mut self.values)] {
            for (i, token) in new.chunks_exact(heads * width).enumerate() {
                for (head, new) in token.chunks_exact(width).enumerate() {
                    let start = (head * self.room + past + i) * width;
                    all[start..start + width].copy_from_slice(new);
                }
            }
        }
    }
}

/// Writes the keys and values of new tokens of a row to its cache, behind the `past` ones that count, and attends from
/// their queries to all that each may see. All are a row for each token.
pub(crate) fn attend(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    past: usize,
    cache: &mut RowCache,
    spec: &AttentionSpec,
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
        let first = spec.window.map_or(0, |window| seen.saturating_sub(window));
        let start = head / (spec.heads / spec.kv_heads) * cache.room;
        let seen = (start + first) * spec.head_dim..(start + seen) * spec.head_dim;
        let (keys, values) = (&cache.keys[seen.clone()], &cache.values[seen]);
        level::run(Attention { query, keys, values, spec, scores, out });
    };
    if tokens * columns * (past + tokens) < WORTH {
        let mut scores = Vec::new();
        heads.for_each(|head| attend(&mut scores, head));
    } else {
        heads.collect::<Vec<_>>().into_par_iter().for_each_init(Vec::new, attend);
    }
}

/// One head of one token.
struct Attention<'a> {
    query: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    spec: &'a AttentionSpec,
    scores: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl Kernel for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        let Self { query, keys, values, spec, scores, out } = self;
        let width = query.len();
        scores.clear();
        scores.resize(keys.len() / width, 0.0);
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
            *score = spec.scale * dot(simd, query, key);
        }
        if let Some(cap) = spec.softcap {
            for score in scores.iter_mut() {
                *score = cap * (*score / cap).tanh();
            }
        }
        let mut largest = f32::NEG_INFINITY;
        for score in scores.iter() {
            largest = if *score > largest { *score } else { largest };
        }
        // A score that is no number stays none, and makes the sum so.
        let mut sum = 0.0;
        for score in scores.iter_mut() {
            *score = exp(*score - largest);
            sum += *score;
        }
        weighted(simd, scores, values, 1.0 / sum, out);
    }
}

/// `factor·Σ weightᵢ·valueᵢ`.
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

/// The same of `8·N` columns.
#[inline(always)]
fn lanes<S: Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    values: &[f32],
    factor: f32,
    start: usize,
    out: &mut [f32],
) {
    let mut sums = [f32x8::splat(simd, 0.0); N];
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        let weight = f32x8::splat(simd, *weight);
        let value = &value[start..start + 8 * N];
        for (sum, value) in sums.iter_mut().zip(value.chunks_exact(8)) {
            *sum = f32x8::from_slice(simd, value).mul_add(weight, *sum);
        }
    }
    for (sum, out) in sums.into_iter().zip(out[start..start + 8 * N].chunks_exact_mut(8)) {
        (sum * factor).store_slice(out);
    }
}
