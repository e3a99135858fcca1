//! Products with many rows: each output has a lane, so that nothing is added up across lanes.
use fearless_simd::{Simd, SimdBase, SimdFrom};

use super::entry::Entry;
use crate::level::{BLOCKS, Dot, LINE};
use crate::tile::{Column, Tile, VECTORS};

/// The largest number of columns that are converted at once, to a tile of 96 KB, or 192 with vectors of 512 bits. With fewer, the sums so
/// far are read and written more often.
const COLUMNS: usize = 1024;

/// Multiplies all rows with all weights.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize, const LANES: usize>(
    simd: S,
    weights: &[[u8; SIZE]],
    x: &[f32],
    columns: usize,
    out: &mut [&mut [f32]],
) {
    let mut tile = vec![Column::default(); columns.min(COLUMNS)];
    product_in::<S, D, E, SIZE, LANES>(simd, &mut tile, weights, x, columns, out);
}

/// The same, with memory for the columns that are converted at once.
#[inline(always)]
pub(crate) fn product_in<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize, const LANES: usize>(
    simd: S,
    tile: &mut [Column<LANES>],
    weights: &[[u8; SIZE]],
    x: &[f32],
    columns: usize,
    out: &mut [&mut [f32]],
) {
    let outputs = weights.len() / columns;
    for start in (0..columns).step_by(tile.len()) {
        let length = tile.len().min(columns - start);
        let tile = &mut tile[..length];
        for output in (0..outputs).step_by(VECTORS * LANES) {
            let count = (outputs - output).min(VECTORS * LANES);
            for vector in 0..count.div_ceil(LANES) {
                let first = output + vector * LANES;
                // Where outputs are missing, the last one is computed several times.
                let mut lanes: [&[[u8; SIZE]]; LANES] = [&[]; LANES];
                for (lane, of_lane) in lanes.iter_mut().enumerate() {
                    let output = (first + lane).min(outputs - 1);
                    *of_lane = &weights[output * columns + start..][..tile.len()];
                }
                fill::<S, D, E, SIZE, LANES>(simd, lanes, vector, VECTORS * LANES * columns, tile);
            }
            let at = Tile { columns: tile, output, count, add: start > 0 };
            at.multiply::<S, D>(simd, &x[start..], columns, out);
        }
    }
}

/// Converts columns of as many outputs as a vector has lanes, and asks for the memory that lies `ahead` entries ahead.
#[inline(always)]
fn fill<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize, const LANES: usize>(
    simd: S,
    lanes: [&[[u8; SIZE]]; LANES],
    vector: usize,
    ahead: usize,
    tile: &mut [Column<LANES>],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let in_word = 4 / SIZE;
            let mut bytes: [&[[u8; 16]]; LANES] = [&[]; LANES];
            let whole = tile.len() / (4 * in_word);
            for (bytes, entries) in bytes.iter_mut().zip(lanes) {
                *bytes = &entries.as_flattened().as_chunks().0[..whole];
            }
            let (columns, rest) = tile.split_at_mut(whole * 4 * in_word);
            for (i, columns) in columns.chunks_exact_mut(4 * in_word).enumerate() {
                if (16 * i).is_multiple_of(LINE) {
                    for bytes in &bytes {
                        D::prefetch_far(bytes[i].as_ptr().wrapping_add(ahead * SIZE));
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
                    *to = E::widen_one(entries[whole * 4 * in_word + i]);
                }
            }
        },
    );
}
