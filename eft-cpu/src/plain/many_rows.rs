//! Products with many rows: each output has a lane, so that nothing is added up across lanes.
use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom};

use super::entry::Entry;
use crate::level::{BLOCKS, Dot, LINE};

/// The number of columns that are converted at once, to a tile of 24 KB, or 48 with vectors of 512 bits. With fewer, the sums so far are
/// read and written more often.
const CHUNK: usize = 256;

/// The number of vectors of outputs multiplied at once, and of rows that each is multiplied with: that many sums fit 32 registers. With 16,
/// half as many rows.
const VECTORS: usize = 3;
const ROWS: usize = 8;

/// One column of [`VECTORS`] vectors of outputs.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Column<const LANES: usize>([[f32; LANES]; VECTORS]);

/// Multiplies all rows with all weights.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, E: Entry, const LANES: usize>(
    simd: S,
    weights: &[E::Bytes],
    x: &[f32],
    columns: usize,
    out: &mut [&mut [f32]],
) {
    let mut tile = [Column([[0.0; LANES]; VECTORS]); CHUNK];
    let at_once = if D::MANY_REGISTERS { ROWS } else { ROWS / 2 };
    let outputs = weights.len() / columns;
    for start in (0..columns).step_by(CHUNK) {
        let tile = &mut tile[..CHUNK.min(columns - start)];
        for output in (0..outputs).step_by(VECTORS * LANES) {
            let count = (outputs - output).min(VECTORS * LANES);
            for vector in 0..count.div_ceil(LANES) {
                let first = output + vector * LANES;
                // Where outputs are missing, the last one is computed several times.
                let mut lanes: [&[E::Bytes]; LANES] = [&[]; LANES];
                for (lane, of_lane) in lanes.iter_mut().enumerate() {
                    let output = (first + lane).min(outputs - 1);
                    *of_lane = &weights[output * columns + start..][..tile.len()];
                }
                fill::<S, D, E, LANES>(simd, lanes, vector, VECTORS * LANES * columns, tile);
            }
            for (i, rows) in out.chunks_mut(at_once).enumerate() {
                let at = Tile { tile, x: &x[i * at_once * columns..], columns, start, output, count };
                match (count.div_ceil(LANES), rows.len() > ROWS / 2) {
                    (1, false) => sums::<S, D, LANES, 1, { ROWS / 2 }>(simd, at, rows),
                    (2, false) => sums::<S, D, LANES, 2, { ROWS / 2 }>(simd, at, rows),
                    (_, false) => sums::<S, D, LANES, 3, { ROWS / 2 }>(simd, at, rows),
                    (1, true) => sums::<S, D, LANES, 1, ROWS>(simd, at, rows),
                    (2, true) => sums::<S, D, LANES, 2, ROWS>(simd, at, rows),
                    (_, true) => sums::<S, D, LANES, 3, ROWS>(simd, at, rows),
                }
            }
        }
    }
}

/// Converts columns of as many outputs as a vector has lanes, and asks for the memory that lies `ahead` entries ahead.
#[inline(always)]
fn fill<S: Simd, D: Dot<S>, E: Entry, const LANES: usize>(
    simd: S,
    lanes: [&[E::Bytes]; LANES],
    vector: usize,
    ahead: usize,
    tile: &mut [Column<LANES>],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let in_word = 4 / size_of::<E::Bytes>();
            let mut bytes: [&[[u8; 16]]; LANES] = [&[]; LANES];
            let whole = tile.len() / (4 * in_word);
            for (bytes, entries) in bytes.iter_mut().zip(lanes) {
                *bytes = &E::bytes(entries).as_chunks().0[..whole];
            }
            let (columns, rest) = tile.split_at_mut(whole * 4 * in_word);
            for (i, columns) in columns.chunks_exact_mut(4 * in_word).enumerate() {
                if (16 * i).is_multiple_of(LINE) {
                    for bytes in &bytes {
                        D::prefetch_far(bytes[i].as_ptr().wrapping_add(ahead * size_of::<E::Bytes>()));
                    }
                }
                let mut parts = [D::Codes::simd_from(simd, 0); 4];
                for (part, at) in parts.iter_mut().zip(0..4) {
                    let mut sixteens = [&[0; 16]; BLOCKS];
                    for (sixteen, bytes) in sixteens.iter_mut().zip(bytes.as_chunks::<4>().0) {
                        *sixteen = &bytes[at][i];
                    }
                    *part = D::sixteens(simd, sixteens);
                }
                let words = D::transposed(simd, parts);
                for (column, to) in columns.iter_mut().enumerate() {
                    let floats = E::widen_lanes::<S, D>(simd, words[column / in_word], column % in_word);
                    floats.store_slice(&mut to.0[vector]);
                }
            }
            for (i, to) in rest.iter_mut().enumerate() {
                for (to, entries) in to.0[vector].iter_mut().zip(lanes) {
                    *to = E::widen_one(&entries[whole * 4 * in_word + i]);
                }
            }
        },
    );
}

/// What one call of [`sums`] multiplies.
struct Tile<'a, const LANES: usize> {
    tile: &'a [Column<LANES>],
    /// The rows.
    x: &'a [f32],
    columns: usize,
    /// The first column.
    start: usize,
    /// The first output, and the number of them.
    output: usize,
    count: usize,
}

/// Adds the products of `V` vectors of outputs with up to `M` rows to `out`, or sets them if these are the first columns. If there are fewer
/// rows, the last one is multiplied several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, const LANES: usize, const V: usize, const M: usize>(
    simd: S,
    at: Tile<'_, LANES>,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let zero = D::Floats::simd_from(simd, 0.0);
            let mut sums = [[zero; V]; M];
            let mut x: [&[f32]; M] = [&[]; M];
            for (row, x) in x.iter_mut().enumerate() {
                *x = &at.x[row.min(out.len() - 1) * at.columns + at.start..][..at.tile.len()];
            }
            for (i, column) in at.tile.iter().enumerate() {
                let mut weights = [zero; V];
                for (weights, column) in weights.iter_mut().zip(&column.0) {
                    *weights = D::Floats::from_slice(simd, column);
                }
                for row in 0..M {
                    let x = D::Floats::simd_from(simd, x[row][i]);
                    for v in 0..V {
                        sums[row][v] = weights[v].mul_add(x, sums[row][v]);
                    }
                }
            }
            for (sums, out) in sums.iter().zip(out) {
                let (vectors, rest) = out[at.output..][..at.count].as_chunks_mut::<LANES>();
                for (sum, out) in sums.iter().zip(&mut *vectors) {
                    let before = if at.start > 0 { D::Floats::from_slice(simd, out) } else { zero };
                    (before + *sum).store_slice(out);
                }
                if !rest.is_empty() {
                    let mut last = [0.0; LANES];
                    sums[V - 1].store_slice(&mut last);
                    for (out, sum) in rest.iter_mut().zip(last) {
                        *out = if at.start > 0 { *out + sum } else { sum };
                    }
                }
            }
        },
    );
}
