//! Products with weights in f32, f16 and bf16.
use std::ops::Range;

use eft_models::Dtype;
use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom, u8x32};

use super::level::{Dot, Kernel};
use super::totals::totals;

/// The number of rows multiplied at once.
const ROWS: usize = 4;
/// The number of outputs multiplied at once: the first with three rows or more, the second with fewer rows or on
/// processors with many registers.
const OUTPUTS: usize = 2;
const MANY_OUTPUTS: usize = 4;
/// Up to this many rows, a few outputs at a time are multiplied with all rows, so that their weights stay in a cache meanwhile,
/// and those in f16 and bf16 are widened to f32 in registers, again for each [`ROWS`] rows. With more rows, [`TILE`] outputs.
const FEW_ROWS: usize = 16;
/// How many bytes ahead of the weights that are being multiplied memory is asked for, for the L2 cache: in the L1 cache it would
/// displace activations.
const AHEAD: usize = 8192;
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
            Dtype::F16 if out.len() <= FEW_ROWS => {
                return tiles::<S, D, F16>(simd, weights, x, columns, 0, out);
            }
            Dtype::BF16 if out.len() <= FEW_ROWS => {
                return tiles::<S, D, BF16>(simd, weights, x, columns, 0, out);
            }
            Dtype::F16 | Dtype::BF16 => {}
            Dtype::F32 | Dtype::Quantised(_) => {
                return tiles::<S, D, F32>(simd, weights, x, columns, 0, out);
            }
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
    /// The bytes of an entry. Weights in a file need not be aligned.
    type Bytes: AsRef<[u8]>;

    /// Splits bytes into entries.
    fn entries(bytes: &[u8]) -> &[Self::Bytes];

    /// Converts as many entries to f32 as a vector has lanes.
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[Self::Bytes; LANES]) -> D::Floats;

    /// Converts one entry to f32.
    fn widen_one(entry: &Self::Bytes) -> f32;
}

struct F32;
struct F16;
struct BF16;

impl Entry for F32 {
    type Bytes = [u8; 4];

    #[inline(always)]
    fn entries(bytes: &[u8]) -> &[Self::Bytes] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[Self::Bytes; LANES]) -> D::Floats {
        D::f32_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: &Self::Bytes) -> f32 {
        f32::from_le_bytes(*entry)
    }
}

impl Entry for F16 {
    type Bytes = [u8; 2];

    #[inline(always)]
    fn entries(bytes: &[u8]) -> &[Self::Bytes] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[Self::Bytes; LANES]) -> D::Floats {
        D::f16_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: &Self::Bytes) -> f32 {
        half::f16::from_le_bytes(*entry).to_f32()
    }
}

impl Entry for BF16 {
    type Bytes = [u8; 2];

    #[inline(always)]
    fn entries(bytes: &[u8]) -> &[Self::Bytes] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[Self::Bytes; LANES]) -> D::Floats {
        D::bf16_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: &Self::Bytes) -> f32 {
        half::bf16::from_le_bytes(*entry).to_f32()
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
        *out = half::f16::from_le_bytes(*bits).to_f32().to_le_bytes();
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
    let weights = E::entries(weights);
    let outputs = weights.len() / columns;
    // Many rows take longer than their weights take to arrive, or have them in a tile in the cache.
    let from_memory = rows <= FEW_ROWS;
    let at_once = if rows <= FEW_ROWS { MANY_OUTPUTS } else { TILE };
    for first in (0..outputs).step_by(at_once) {
        let end = outputs.min(first + at_once);
        for row in (0..rows).step_by(ROWS) {
            let mut output = first;
            while output < end {
                let at = Tile {
                    weights,
                    x,
                    columns,
                    row,
                    output,
                    to: to + output,
                    from_memory: from_memory && row == 0,
                };
                output += if D::GROUPS == 2 {
                    of_tile::<S, D, E, 16>(simd, at, rows - row, end - output, out)
                } else {
                    of_tile::<S, D, E, 8>(simd, at, rows - row, end - output, out)
                };
            }
        }
    }
}

/// Multiplies up to [`ROWS`] rows with as many outputs at once as fit the registers. Returns their number.
#[inline(always)]
fn of_tile<S: Simd, D: Dot<S>, E: Entry, const LANES: usize>(
    simd: S,
    at: Tile<'_, E>,
    rows: usize,
    outputs: usize,
    out: &mut [&mut [f32]],
) -> usize {
    match (rows, outputs) {
        (1, MANY_OUTPUTS..) => sums::<S, D, E, LANES, MANY_OUTPUTS, 1>(simd, at, out),
        (1, _) => sums::<S, D, E, LANES, 1, 1>(simd, at, out),
        (2, MANY_OUTPUTS..) => sums::<S, D, E, LANES, MANY_OUTPUTS, 2>(simd, at, out),
        (2, _) => sums::<S, D, E, LANES, 1, 2>(simd, at, out),
        (3, MANY_OUTPUTS..) if D::MANY_REGISTERS => sums::<S, D, E, LANES, MANY_OUTPUTS, 3>(simd, at, out),
        (_, MANY_OUTPUTS..) if D::MANY_REGISTERS => sums::<S, D, E, LANES, MANY_OUTPUTS, ROWS>(simd, at, out),
        (3, OUTPUTS..) => sums::<S, D, E, LANES, OUTPUTS, 3>(simd, at, out),
        (3, _) => sums::<S, D, E, LANES, 1, 3>(simd, at, out),
        (_, OUTPUTS..) => sums::<S, D, E, LANES, OUTPUTS, ROWS>(simd, at, out),
        (_, _) => sums::<S, D, E, LANES, 1, ROWS>(simd, at, out),
    }
}

/// Which weights, rows and outputs one call of [`sums`] covers.
struct Tile<'a, E: Entry> {
    weights: &'a [E::Bytes],
    x: &'a [f32],
    columns: usize,
    /// The first row of activations.
    row: usize,
    /// The first output: its index among the weights, and in each row of `out`.
    output: usize,
    to: usize,
    /// Whether memory is asked for ahead.
    from_memory: bool,
}

/// Computes the products of `N` outputs with `M` rows. Returns `N`.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, E: Entry, const LANES: usize, const N: usize, const M: usize>(
    simd: S,
    at: Tile<'_, E>,
    out: &mut [&mut [f32]],
) -> usize {
    simd.vectorize(
        #[inline(always)]
        || {
            let columns = at.columns;
            let whole = columns / LANES;
            let mut weights: [&[[E::Bytes; LANES]]; N] = [&[]; N];
            let mut weights_rest: [&[E::Bytes]; N] = [&[]; N];
            for n in 0..N {
                let row = &at.weights[(at.output + n) * columns..][..columns];
                (weights[n], weights_rest[n]) = (&row.as_chunks().0[..whole], &row[LANES * whole..]);
            }
            let mut rows: [&[[f32; LANES]]; M] = [&[]; M];
            let mut rows_rest: [&[f32]; M] = [&[]; M];
            for m in 0..M {
                let row = &at.x[(at.row + m) * columns..][..columns];
                (rows[m], rows_rest[m]) = (&row.as_chunks().0[..whole], &row[LANES * whole..]);
            }
            let zero = D::Floats::simd_from(simd, 0.0);
            let mut sums = [[zero; N]; M];
            for i in 0..whole {
                let mut part = [zero; N];
                for n in 0..N {
                    if at.from_memory {
                        D::prefetch_far(weights[n][i].as_ptr().cast::<u8>().wrapping_add(AHEAD));
                    }
                    part[n] = E::widen::<S, D, LANES>(simd, &weights[n][i]);
                }
                for m in 0..M {
                    let x = D::Floats::from_slice(simd, &rows[m][i]);
                    for n in 0..N {
                        sums[m][n] = part[n].mul_add(x, sums[m][n]);
                    }
                }
            }
            for (m, totals) in totals::<S, D, N, M>(simd, &sums).iter().enumerate() {
                out[at.row + m][at.to..at.to + N].copy_from_slice(totals);
            }
            if columns > LANES * whole {
                for m in 0..M {
                    for n in 0..N {
                        for (weight, x) in weights_rest[n].iter().zip(rows_rest[m]) {
                            out[at.row + m][at.to + n] += E::widen_one(weight) * x;
                        }
                    }
                }
            }
        },
    );
    N
}
