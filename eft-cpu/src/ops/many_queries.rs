//! The attention of many queries to the keys and values of one head: some keys at a time, by products that are made for many rows.
use eft_core::host::math::exp;
use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom};

use super::Heads;
use super::attention::{Query, cap, exponentials_below, largest};
use super::pages::{Pages, Run};
use super::stored::Unit;
use crate::level::{Dot, Kernel};
use crate::plain::{F32, product_in};
use crate::tile::{Column, Tile, VECTORS};

/// The number of queries that are computed together. Keys and values are converted to f32 and transposed once for all of them.
pub(super) const QUERIES: usize = 128;

/// The number of keys at a time: their scores stay in the L2 cache.
const KEYS: usize = 128;

/// The attention of up to [`QUERIES`] queries to the keys and values of one head. Results differ from those of
/// [`Attention`](super::attention::Attention) by rounding.
///
/// Values that a query does not see are multiplied by 0, which does not remove a NaN or an infinity. If there is one, `is_finite` becomes
/// `false`, and the results are not valid.
pub(super) struct ManyQueries<'a, 'b, U> {
    pub(super) queries: &'a [Query<'b>],
    pub(super) pages: &'a Pages<U>,
    pub(super) kv_head: usize,
    pub(super) spec: &'a Heads<'a>,
    /// A row for each query, as wide as a head.
    pub(super) out: &'a mut [f32],
    pub(super) is_finite: &'a mut bool,
}

impl<U: Unit> Kernel for ManyQueries<'_, '_, U> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        match D::GROUPS {
            1 => self.in_lanes::<S, D, 8>(simd),
            _ => self.in_lanes::<S, D, 16>(simd),
        }
    }
}

/// The exponentials of a query so far.
#[derive(Clone, Copy)]
struct Sum {
    /// The largest score.
    largest: f32,
    /// The sum of the exponentials of all scores minus the largest one.
    sum: f32,
}

impl<U: Unit> ManyQueries<'_, '_, U> {
    #[inline(always)]
    fn in_lanes<S: Simd, D: Dot<S>, const LANES: usize>(self, simd: S) {
        let Self { queries, pages, kv_head, spec, out, is_finite } = self;
        // A head as wide as it is in the cache.
        let width = queries[0].query.len();
        let units = width / U::ENTRIES;
        let mut scaled = vec![0.0; queries.len() * width];
        let mut sums = vec![Sum { largest: f32::NEG_INFINITY, sum: 0.0 }; queries.len()];
        for ((query, scaled), sum) in queries.iter().zip(scaled.chunks_exact_mut(width)).zip(&mut sums) {
            for (to, x) in scaled.iter_mut().zip(query.query) {
                *to = x * spec.scale;
            }
            // A sink is a key without a value. If it is not a number, or infinite, neither is the result a number.
            if query.sink != f32::NEG_INFINITY {
                let sum_of_sink = if query.sink.is_finite() { 1.0 } else { f32::NAN };
                *sum = Sum { largest: query.sink, sum: sum_of_sink };
            }
        }
        out.fill(0.0);
        let mut out: Vec<_> = out.chunks_exact_mut(spec.head_dim).collect();

        let mut keys = vec![[0; 4]; KEYS * width];
        let mut transposed = vec![Column::<LANES>::default(); width];
        let mut values = vec![Column::<LANES>::default(); KEYS * width.div_ceil(VECTORS * LANES)];
        let mut scores = vec![0.0; queries.len() * KEYS];
        let start = queries.iter().fold(usize::MAX, |start, query| start.min(query.seen.start));
        let end = queries.iter().fold(0, |end, query| end.max(query.seen.end));
        let mut next = start;
        while next < end {
            // Results must not depend on how queries are divided into parts, so keys are divided at the same positions in all of them.
            let (start, end) = (next, end.min((next / KEYS + 1) * KEYS));
            next = end;
            for run in pages.seen(kv_head, start..end, units) {
                *is_finite &= convert::<S, D, U, LANES>(simd, &run, units, &mut keys, &mut values);
            }
            if !*is_finite {
                return;
            }
            let keys = &keys[..(end - start) * width];
            let mut rows: Vec<_> = scores.chunks_exact_mut(KEYS).collect();
            product_in::<S, D, F32, 4, LANES>(simd, &mut transposed, keys, &scaled, width, &mut rows);
            for (i, query) in queries.iter().enumerate() {
                let (seen_from, seen_to) =
                    (query.seen.start.clamp(start, end), query.seen.end.clamp(start, end));
                let scores = &mut scores[i * KEYS..][..end - start];
                scores[..seen_from - start].fill(0.0);
                scores[seen_to - start..].fill(0.0);
                add_scores(simd, &mut scores[seen_from - start..seen_to - start], spec, &mut sums[i], out[i]);
            }
            let outputs = (0..spec.head_dim).step_by(VECTORS * LANES);
            for (output, values) in outputs.zip(values.chunks_exact(KEYS)) {
                let count = (spec.head_dim - output).min(VECTORS * LANES);
                let tile = Tile { columns: &values[..end - start], output, count, add: true };
                tile.multiply::<S, D>(simd, &scores, KEYS, &mut out);
            }
        }
        for (out, sum) in out.into_iter().zip(sums) {
            let factor = 1.0 / sum.sum;
            for out in out {
                *out *= factor;
            }
        }
    }
}

/// Converts the keys and values of a run: keys one after another, and of values [`VECTORS`] vectors at a time, each with [`KEYS`] keys.
/// Returns whether all values are finite.
#[inline(always)]
fn convert<S: Simd, D: Dot<S>, U: Unit, const LANES: usize>(
    simd: S,
    run: &Run<'_, U>,
    units: usize,
    keys: &mut [[u8; 4]],
    values: &mut [Column<LANES>],
) -> bool {
    simd.vectorize(
        #[inline(always)]
        || {
            let parts = U::ENTRIES / LANES;
            // Zero times NaN or infinity is NaN.
            let mut zero = D::Floats::simd_from(simd, 0.0);
            let each = run.keys.chunks_exact(units).zip(run.values.chunks_exact(units));
            for (token, (key, value)) in run.tokens.clone().zip(each) {
                let to = &mut keys[token * units * U::ENTRIES..][..units * U::ENTRIES];
                for vector in 0..units * parts {
                    let floats = key[vector / parts].floats::<S, D, LANES>(simd, vector % parts);
                    let bytes = floats.bitcast::<D::Codes>();
                    bytes.store_slice(to[vector * LANES..][..LANES].as_flattened_mut());
                    let floats = value[vector / parts].floats::<S, D, LANES>(simd, vector % parts);
                    zero = floats.mul_add(0.0, zero);
                    floats.store_slice(&mut values[vector / VECTORS * KEYS + token].0[vector % VECTORS]);
                }
            }
            let mut zeros = [0.0; LANES];
            zero.store_slice(&mut zeros);
            zeros == [0.0; LANES]
        },
    )
}

/// Replaces the scores of the next keys by their exponentials, and adds them to the sum of the query. If one of them is the largest so far,
/// what was computed before is scaled accordingly.
#[inline(always)]
fn add_scores<S: Simd>(simd: S, scores: &mut [f32], spec: &Heads<'_>, sum: &mut Sum, out: &mut [f32]) {
    simd.vectorize(
        #[inline(always)]
        || {
            cap(scores, spec.softcap);
            let largest = largest(simd, scores).max(sum.largest);
            if largest > sum.largest && sum.largest > f32::NEG_INFINITY {
                let factor = exp(sum.largest - largest);
                sum.sum *= factor;
                for out in out {
                    *out *= factor;
                }
            }
            sum.largest = largest;
            // If all scores so far are −∞, their exponentials are 0.
            sum.sum +=
                exponentials_below(simd, scores, if largest == f32::NEG_INFINITY { 0.0 } else { largest });
        },
    );
}
