//! Products with weights in f32, f16 and bf16.
use std::ops::Range;

use eft_models::Dtype;
use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, f32x8, u8x32};

use super::level::{Dot, Kernel};

/// The number of rows multiplied at once.
const ROWS: usize = 4;
/// The number of outputs multiplied at once: the first with three rows or more, the second with fewer rows or on
/// processors with many registers.
const OUTPUTS: usize = 2;
const MANY_OUTPUTS: usize = 4;
/// Up to this many rows, the activations leave most of the L1 cache free.
const FEW: usize = 16;
/// Up to this many rows, weights are widened to f32 in registers, again for each [`ROWS`] rows.
const WIDENED_IN_REGISTERS: usize = 2 * ROWS;
/// The number of outputs whose weights are widened to f32 at once.
const TILE: usize = 16;

/// The product of all rows with the weights of a range of outputs.
pub(super) struct Product<'a, 'out> {
    pub(super) dtype: Dtype,
    pub(super) weights: &'a [u8],
    pub(super) x: &'a [f32],
    pub(super) columns: usize,
    pub(super) outputs: Range<usize>,
    /// For each row, the part that holds these outputs.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        let Self { dtype, weights, x, columns, outputs, out } = self;
        let bytes = dtype.bytes(columns);
        let weights = &weights[outputs.start * bytes..outputs.end * bytes];
        match dtype {
            Dtype::F16 if out.len() <= WIDENED_IN_REGISTERS => {
                return tiles::<S, D, F16>(simd, weights, x, columns, 0, out);
            }
            Dtype::BF16 if out.len() <= WIDENED_IN_REGISTERS => {
                return tiles::<S, D, BF16>(simd, weights, x, columns, 0, out);
            }
            Dtype::F16 | Dtype::BF16 => {}
            Dtype::F32 | Dtype::Quantised(_) => return tiles::<S, D, F32>(simd, weights, x, columns, 0, out),
        }
        let mut tile = vec![0; TILE.min(outputs.len()) * 4 * columns];
        for (i, weights) in weights.chunks(TILE * bytes).enumerate() {
            let tile = &mut tile[..weights.len() / bytes * 4 * columns];
            widen::<S, D>(simd, dtype, weights, tile);
            tiles::<S, D, F32>(simd, tile, x, columns, i * TILE, out);
        }
    }
}

/// A type of weights.
trait Entry {
    /// The size of an entry in bytes.
    const BYTES: usize;
    /// Eight entries. They are read as bytes, since weights in a file need not be aligned.
    type Eight;

    /// Returns the whole eights at the start of `bytes`.
    fn eights(bytes: &[u8]) -> &[Self::Eight];

    /// Converts eight entries to f32.
    fn widen<S: Simd, D: Dot<S>>(simd: S, eight: &Self::Eight) -> f32x8<S>;

    /// Converts the entries of `bytes`, of which there are few, one at a time.
    fn one_by_one(bytes: &[u8]) -> impl Iterator<Item = f32>;
}

struct F32;
struct F16;
struct BF16;

impl Entry for F32 {
    const BYTES: usize = 4;
    type Eight = [u8; 32];

    #[inline(always)]
    fn eights(bytes: &[u8]) -> &[Self::Eight] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>>(simd: S, eight: &Self::Eight) -> f32x8<S> {
        u8x32::from_slice(simd, eight).bitcast()
    }

    #[inline(always)]
    fn one_by_one(bytes: &[u8]) -> impl Iterator<Item = f32> {
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }
}

impl Entry for F16 {
    const BYTES: usize = 2;
    type Eight = [u8; 16];

    #[inline(always)]
    fn eights(bytes: &[u8]) -> &[Self::Eight] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>>(simd: S, eight: &Self::Eight) -> f32x8<S> {
        D::f16x8_to_f32(simd, eight)
    }

    #[inline(always)]
    fn one_by_one(bytes: &[u8]) -> impl Iterator<Item = f32> {
        bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32())
    }
}

impl Entry for BF16 {
    const BYTES: usize = 2;
    type Eight = [u8; 16];

    #[inline(always)]
    fn eights(bytes: &[u8]) -> &[Self::Eight] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>>(simd: S, eight: &Self::Eight) -> f32x8<S> {
        D::bf16x8_to_f32(simd, eight)
    }

    #[inline(always)]
    fn one_by_one(bytes: &[u8]) -> impl Iterator<Item = f32> {
        bytes.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32())
    }
}

/// Converts f16 or bf16 weights to the bytes of f32.
#[inline(always)]
fn widen<S: Simd, D: Dot<S>>(simd: S, dtype: Dtype, weights: &[u8], out: &mut [u8]) {
    if dtype == Dtype::BF16 {
        let pairs = weights.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<4>().0);
        for ([low, high], out) in pairs {
            *out = [0, 0, *low, *high];
        }
        return;
    }
    let (eights, rest) = weights.as_chunks::<16>();
    let (wide, wide_rest) = out.as_chunks_mut::<32>();
    for (bits, out) in eights.iter().zip(wide) {
        D::f16x8_to_f32(simd, bits).bitcast::<u8x32<S>>().store_slice(out);
    }
    for (bits, out) in rest.as_chunks::<2>().0.iter().zip(wide_rest.as_chunks_mut::<4>().0) {
        *out = D::f16_to_f32(simd, *bits).to_le_bytes();
    }
}

/// Multiplies weights with all rows, and writes the outputs from index `to` on.
#[inline(always)]
fn tiles<S: Simd, D: Dot<S>, E: Entry>(
    simd: S,
    weights: &[u8],
    x: &[f32],
    columns: usize,
    to: usize,
    out: &mut [&mut [f32]],
) {
    let rows = x.len() / columns;
    let outputs = weights.len() / (E::BYTES * columns);
    // A few outputs at a time over all rows, so that their weights stay in the cache meanwhile; with few rows, in L1.
    let at_once = if rows <= FEW { MANY_OUTPUTS } else { TILE };
    for first in (0..outputs).step_by(at_once) {
        let end = outputs.min(first + at_once);
        for row in (0..rows).step_by(ROWS) {
            let mut output = first;
            while output < end {
                let at = Tile { weights, x, columns, row, output, to: to + output };
                output += match (rows - row, end - output) {
                    (1, MANY_OUTPUTS..) => sums::<S, D, E, MANY_OUTPUTS, 1>(simd, at, out),
                    (1, _) => sums::<S, D, E, 1, 1>(simd, at, out),
                    (2, MANY_OUTPUTS..) => sums::<S, D, E, MANY_OUTPUTS, 2>(simd, at, out),
                    (2, _) => sums::<S, D, E, 1, 2>(simd, at, out),
                    (3, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
                        sums::<S, D, E, MANY_OUTPUTS, 3>(simd, at, out)
                    }
                    (_, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
                        sums::<S, D, E, MANY_OUTPUTS, ROWS>(simd, at, out)
                    }
                    (3, OUTPUTS..) => sums::<S, D, E, OUTPUTS, 3>(simd, at, out),
                    (3, _) => sums::<S, D, E, 1, 3>(simd, at, out),
                    (_, OUTPUTS..) => sums::<S, D, E, OUTPUTS, ROWS>(simd, at, out),
                    (_, _) => sums::<S, D, E, 1, ROWS>(simd, at, out),
                };
            }
        }
    }
}

/// Which weights, rows and outputs one call of [`sums`] covers.
#[derive(Clone, Copy)]
struct Tile<'a> {
    weights: &'a [u8],
    x: &'a [f32],
    columns: usize,
    /// The first row of activations.
    row: usize,
    /// The first output: its index among the weights, and in each row of `out`.
    output: usize,
    to: usize,
}

/// Computes the products of `N` outputs with `M` rows. Returns `N`.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, E: Entry, const N: usize, const M: usize>(
    simd: S,
    at: Tile<'_>,
    out: &mut [&mut [f32]],
) -> usize {
    simd.vectorize(
        #[inline(always)]
        || {
            let columns = at.columns;
            let whole = columns / 8;
            let mut weights: [&[E::Eight]; N] = [&[]; N];
            let mut weights_rest: [&[u8]; N] = [&[]; N];
            for n in 0..N {
                let row = &at.weights[(at.output + n) * E::BYTES * columns..][..E::BYTES * columns];
                (weights[n], weights_rest[n]) = (&E::eights(row)[..whole], &row[8 * E::BYTES * whole..]);
            }
            let mut rows: [&[[f32; 8]]; M] = [&[]; M];
            let mut rows_rest: [&[f32]; M] = [&[]; M];
            for m in 0..M {
                let row = &at.x[(at.row + m) * columns..][..columns];
                (rows[m], rows_rest[m]) = (&row.as_chunks().0[..whole], &row[8 * whole..]);
            }
            let mut sums = [[f32x8::splat(simd, 0.0); M]; N];
            for i in 0..whole {
                let mut part = [f32x8::splat(simd, 0.0); N];
                for n in 0..N {
                    part[n] = E::widen::<S, D>(simd, &weights[n][i]);
                }
                for m in 0..M {
                    let x = f32x8::from_slice(simd, &rows[m][i]);
                    for n in 0..N {
                        sums[n][m] = part[n].mul_add(x, sums[n][m]);
                    }
                }
            }
            for m in 0..M {
                for n in 0..N {
                    let mut sum = sums[n][m].reduce_sum();
                    for (weight, x) in E::one_by_one(weights_rest[n]).zip(rows_rest[m]) {
                        sum += weight * x;
                    }
                    out[at.row + m][at.to + n] = sum;
                }
            }
        },
    );
    N
}
