//! Products with a few rows: each sum of an output and a row has a vector.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom};

use super::entry::Entry;
use crate::level::Dot;
use crate::totals::totals;

/// The most rows multiplied at once: the first, or the second on processors with many registers.
const ROWS: usize = 4;
const MANY_ROWS: usize = 6;
/// The number of outputs multiplied at once: the first with three rows or more, the second with fewer rows or on
/// processors with many registers.
const OUTPUTS: usize = 2;
const MANY_OUTPUTS: usize = 4;
/// How many bytes ahead of the weights that are being multiplied memory is asked for if all rows are multiplied at once, for the L2 cache: in the
/// L1 cache it would displace activations.
const AHEAD: usize = 8192;

/// Multiplies all rows with all weights. A few outputs at a time are multiplied with all rows, so that their weights stay in a cache
/// meanwhile. If there are too many rows for the registers, these weights are read once for each block of rows. Each block then asks for a part of
/// the outputs that follow: if the first one asked for all, no memory would be read during the others.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize, const LANES: usize>(
    simd: S,
    weights: &[[u8; SIZE]],
    x: &[f32],
    columns: usize,
    out: &mut [&mut [f32]],
) {
    let rows = x.len() / columns;
    let outputs = weights.len() / columns;
    let blocks = rows.div_ceil(if D::MANY_REGISTERS { MANY_ROWS } else { ROWS });
    let share = |of: usize, block: usize| of * block / blocks..of * (block + 1) / blocks;
    let ahead = if blocks == 1 { AHEAD } else { MANY_OUTPUTS * columns * SIZE };
    for first in (0..outputs).step_by(MANY_OUTPUTS) {
        let end = outputs.min(first + MANY_OUTPUTS);
        for block in 0..blocks {
            let (rows, asking) = (share(rows, block), share(columns / LANES, block));
            let mut output = first;
            while output < end {
                let at = Tile { weights, x, columns, row: rows.start, output, asking: asking.clone(), ahead };
                output += of_tile::<S, D, E, SIZE, LANES>(simd, at, rows.len(), end - output, out);
            }
        }
    }
}

/// Multiplies a block of rows with as many outputs at once as fit the registers. Returns their number.
#[inline(always)]
fn of_tile<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize, const LANES: usize>(
    simd: S,
    at: Tile<'_, SIZE>,
    rows: usize,
    outputs: usize,
    out: &mut [&mut [f32]],
) -> usize {
    match (rows, outputs) {
        (1, MANY_OUTPUTS..) => sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 1>(simd, at, out),
        (1, _) => sums::<S, D, E, SIZE, LANES, 1, 1>(simd, at, out),
        (2, MANY_OUTPUTS..) => sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 2>(simd, at, out),
        (2, _) => sums::<S, D, E, SIZE, LANES, 1, 2>(simd, at, out),
        (3, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
            sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 3>(simd, at, out)
        }
        (4, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
            sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 4>(simd, at, out)
        }
        (5, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
            sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 5>(simd, at, out)
        }
        (6, MANY_OUTPUTS..) if D::MANY_REGISTERS => {
            sums::<S, D, E, SIZE, LANES, MANY_OUTPUTS, 6>(simd, at, out)
        }
        (3, OUTPUTS..) => sums::<S, D, E, SIZE, LANES, OUTPUTS, 3>(simd, at, out),
        (3, _) => sums::<S, D, E, SIZE, LANES, 1, 3>(simd, at, out),
        (4, OUTPUTS..) => sums::<S, D, E, SIZE, LANES, OUTPUTS, 4>(simd, at, out),
        (4, _) => sums::<S, D, E, SIZE, LANES, 1, 4>(simd, at, out),
        (5, _) => sums::<S, D, E, SIZE, LANES, 1, 5>(simd, at, out),
        (_, _) => sums::<S, D, E, SIZE, LANES, 1, 6>(simd, at, out),
    }
}

/// Which weights, rows and outputs one call of [`sums`] covers.
struct Tile<'a, const SIZE: usize> {
    weights: &'a [[u8; SIZE]],
    x: &'a [f32],
    columns: usize,
    /// The first row of activations.
    row: usize,
    /// The first output.
    output: usize,
    /// The vectors of each output at which memory is asked for, and how many bytes ahead of them.
    asking: Range<usize>,
    ahead: usize,
}

/// Computes the products of `N` outputs with `M` rows. Returns `N`.
#[inline(always)]
fn sums<
    S: Simd,
    D: Dot<S>,
    E: Entry<SIZE>,
    const SIZE: usize,
    const LANES: usize,
    const N: usize,
    const M: usize,
>(
    simd: S,
    at: Tile<'_, SIZE>,
    out: &mut [&mut [f32]],
) -> usize {
    simd.vectorize(
        #[inline(always)]
        || {
            let columns = at.columns;
            let whole = columns / LANES;
            let mut weights: [&[[[u8; SIZE]; LANES]]; N] = [&[]; N];
            let mut weights_rest: [&[[u8; SIZE]]; N] = [&[]; N];
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
                    if at.asking.contains(&i) {
                        D::prefetch_far(weights[n][i].as_ptr().cast::<u8>().wrapping_add(at.ahead));
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
                out[at.row + m][at.output..at.output + N].copy_from_slice(totals);
            }
            if columns > LANES * whole {
                for m in 0..M {
                    for n in 0..N {
                        for (weight, x) in weights_rest[n].iter().zip(rows_rest[m]) {
                            out[at.row + m][at.output + n] += E::widen_one(*weight) * x;
                        }
                    }
                }
            }
        },
    );
    N
}
