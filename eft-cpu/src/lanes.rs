//! Products with a lane for each output: the weights of eight or sixteen outputs are unpacked side by side, and multiplied with a few rows
//! at a time. Four columns of a row are repeated for all lanes, so nothing is added up across lanes.
//!
//! The products of a row do not depend, to the last bit, on how many rows are multiplied at once: the terms of each sum are added up
//! in the order of the columns. A kernel for a certain number of rows would have to do the same.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, SimdInt};

use super::activations::{QuantisedActivations, QuantisedGroup};
use super::blocks::{Block, Column, Unpacked};
use super::level::{Dot, LINE};

/// The number of groups of columns that are unpacked at once. They fit an L1 cache of 32 KB together with the same columns of
/// some rows.
const CHUNK: usize = 8;

/// The largest number of rows for which weights are unpacked at once, and the largest size of these rows in bytes: they stay in
/// the L2 cache, while the weights are read once for each such block of rows.
const ROWS: usize = 128;
const ROWS_BYTES: usize = 1 << 19;

/// The number of rows that are multiplied at once with 32 registers: each takes two or three for its sums. With 16, it is half.
const AT_ONCE: usize = 8;

/// Multiplies all rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: Block, const LANES: usize, const BYTES: usize>(
    simd: S,
    weights: &[u8],
    x: &QuantisedActivations,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    const { assert!(BYTES == B::BYTES) };
    let blocks = x.groups / B::GROUPS;
    let mut tile = [Unpacked::<LANES>::default(); CHUNK];
    let at_once = if D::MANY_REGISTERS { AT_ONCE } else { AT_ONCE / 2 };
    let rows =
        (ROWS_BYTES / (x.groups * size_of::<QuantisedGroup>())).clamp(AT_ONCE, ROWS) / AT_ONCE * AT_ONCE;
    // For each row, its products with the outputs.
    let mut sums = vec![[0.0; LANES]; rows.min(out.len())];
    let mut first_row = 0;
    for out in out.chunks_mut(rows) {
        let sums = &mut sums[..out.len()];
        // From three rows on, multiplying takes about as long as unpacking, and half of the memory is asked for meanwhile.
        let all = out.len() <= 2;
        for first in outputs.clone().step_by(LANES) {
            let count = LANES.min(outputs.end - first);
            let of_outputs = weights[first * blocks * BYTES..].as_chunks::<BYTES>().0;
            // The next outputs lie after these. They are asked for in the order in which they lie, which the processor's own
            // prefetching follows, not in that in which they are unpacked.
            let mut ahead = weights.as_ptr().wrapping_add((first + LANES) * blocks * BYTES);
            sums.fill([0.0; LANES]);
            for start in (0..x.groups).step_by(CHUNK) {
                let tile = &mut tile[..CHUNK.min(x.groups - start)];
                let chunk = ahead;
                let of_tile = tile.len() / B::GROUPS;
                // Where outputs are missing, the last one is computed several times.
                let mut lanes: [&[[u8; BYTES]]; LANES] = [&[]; LANES];
                for (lane, of_lane) in lanes.iter_mut().enumerate() {
                    let first = lane.min(count - 1) * blocks + start / B::GROUPS;
                    *of_lane = &of_outputs[first..][..of_tile];
                }
                for i in 0..of_tile {
                    let mut of_lanes = [&[0; BYTES]; LANES];
                    for (block, of_lane) in of_lanes.iter_mut().zip(&lanes) {
                        *block = &of_lane[i];
                    }
                    let to = &mut tile[i * B::GROUPS..][..B::GROUPS];
                    B::unpack::<S, D, LANES, BYTES>(simd, &Column::new(of_lanes, ahead, all), to);
                    ahead = ahead.wrapping_add(LANES * BYTES);
                }
                for (i, sums) in sums.chunks_mut(at_once).enumerate() {
                    let row = first_row + i * at_once;
                    let asked = if i == 0 && !all { LANES * BYTES / B::GROUPS } else { 0 };
                    let at = Tile { tile, x, start, row, ahead: chunk.wrapping_add(LINE), asked };
                    match sums.len() {
                        1 => tile_sums_of::<S, D, B, LANES, 1>(simd, at, sums),
                        2 => tile_sums_of::<S, D, B, LANES, 2>(simd, at, sums),
                        3 => tile_sums_of::<S, D, B, LANES, 3>(simd, at, sums),
                        5 if D::MANY_REGISTERS => tile_sums_of::<S, D, B, LANES, 5>(simd, at, sums),
                        6 if D::MANY_REGISTERS => tile_sums_of::<S, D, B, LANES, 6>(simd, at, sums),
                        7 if D::MANY_REGISTERS => tile_sums_of::<S, D, B, LANES, 7>(simd, at, sums),
                        8 if D::MANY_REGISTERS => tile_sums_of::<S, D, B, LANES, 8>(simd, at, sums),
                        _ => tile_sums_of::<S, D, B, LANES, 4>(simd, at, sums),
                    }
                }
            }
            for (out, sums) in out.iter_mut().zip(&*sums) {
                let out = &mut out[first - outputs.start..][..count];
                match out.as_mut_array::<LANES>() {
                    Some(out) => *out = *sums,
                    None => out.copy_from_slice(&sums[..count]),
                }
            }
        }
        first_row += out.len();
    }
}

/// What one call of [`tile_sums`] multiplies.
#[derive(Clone, Copy)]
struct Tile<'a, const LANES: usize> {
    tile: &'a [Unpacked<LANES>],
    x: &'a QuantisedActivations,
    /// The first group of columns.
    start: usize,
    /// The first row.
    row: usize,
    /// Memory that is asked for meanwhile, and how many bytes of it for each group: every second cache line. Most of the others were asked
    /// for while the tile was unpacked, so that requests are spread evenly.
    ahead: *const u8,
    asked: usize,
}

/// Adds the products of a tile with `M` rows to `sums`. Turns the kind of block into a few constants, so that [`tile_sums`] is compiled
/// once for similar kinds.
#[inline(always)]
fn tile_sums_of<S: Simd, D: Dot<S>, B: Block, const LANES: usize, const M: usize>(
    simd: S,
    at: Tile<'_, LANES>,
    sums: &mut [[f32; LANES]],
) {
    const { assert!(B::LARGEST < 64 || B::LARGEST == u8::MAX, "there is no limit for such codes") };
    match (B::HALF_SCALES, B::LARGEST) {
        (false, u8::MAX) if !D::ADDS_BYTES => tile_sums::<S, D, LANES, false, 0, M>(simd, at, sums),
        (true, u8::MAX) if !D::ADDS_BYTES => tile_sums::<S, D, LANES, true, 0, M>(simd, at, sums),
        (false, 32..=63) if D::NARROW_SUMS => tile_sums::<S, D, LANES, false, 2, M>(simd, at, sums),
        (true, 32..=63) if D::NARROW_SUMS => tile_sums::<S, D, LANES, true, 2, M>(simd, at, sums),
        (false, 16..=31) if D::NARROW_SUMS => tile_sums::<S, D, LANES, false, 4, M>(simd, at, sums),
        (false, _) => tile_sums::<S, D, LANES, false, 8, M>(simd, at, sums),
        (true, _) => tile_sums::<S, D, LANES, true, 4, M>(simd, at, sums),
    }
}

/// See [`tile_sums_of`]. Up to `LIMIT` pairs of products fit in 16 bits, even with the largest codes and activations, which matters only
/// where sums have 16 bits. With a limit of 0, the products of each four columns are widened to 32 bits at once, since codes of eight bits
/// leave no room in 16.
#[inline(always)]
fn tile_sums<
    S: Simd,
    D: Dot<S>,
    const LANES: usize,
    const HALF_SCALES: bool,
    const LIMIT: usize,
    const M: usize,
>(
    simd: S,
    at: Tile<'_, LANES>,
    to: &mut [[f32; LANES]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[QuantisedGroup]; M] = [&[]; M];
            let mut sums = [D::Floats::simd_from(simd, 0.0); M];
            for m in 0..M {
                rows[m] = &at.x.row(at.row + m)[at.start..][..at.tile.len()];
                sums[m] = D::Floats::from_slice(simd, &to[m]);
            }
            let mut ahead = at.ahead;
            for (i, group) in at.tile.iter().enumerate() {
                for line in (0..at.asked).step_by(2 * LINE) {
                    D::prefetch_far(ahead.wrapping_add(line));
                }
                ahead = ahead.wrapping_add(at.asked);
                for half in 0..1 + usize::from(HALF_SCALES) {
                    let dots = if HALF_SCALES {
                        dots::<S, D, LANES, LIMIT, M, 4>(simd, group, &rows, i, 4 * half)
                    } else {
                        dots::<S, D, LANES, LIMIT, M, 8>(simd, group, &rows, i, 0)
                    };
                    let scales = D::Floats::from_slice(simd, &group.scales[half]);
                    let offsets = D::Floats::from_slice(simd, &group.offsets[half]);
                    for m in 0..M {
                        let x = &rows[m][i];
                        let sum = if HALF_SCALES { x.halves[half] } else { x.sum };
                        sums[m] = dots[m].to_float::<D::Floats>().mul_add(scales * x.scale, sums[m]);
                        sums[m] = offsets.mul_add(D::Floats::simd_from(simd, sum), sums[m]);
                    }
                }
            }
            for m in 0..M {
                sums[m].store_slice(&mut to[m]);
            }
        },
    );
}

/// The products of `N` times four columns of a group, from the four of index `from` on, with `M` rows.
#[inline(always)]
fn dots<S: Simd, D: Dot<S>, const LANES: usize, const LIMIT: usize, const M: usize, const N: usize>(
    simd: S,
    group: &Unpacked<LANES>,
    rows: &[&[QuantisedGroup]; M],
    i: usize,
    from: usize,
) -> [D::Sums; M] {
    let mut dots = [D::Sums::simd_from(simd, 0); M];
    let step = if LIMIT == 0 { 1 } else { LIMIT };
    for first in (from..from + N).step_by(step) {
        let mut sums = [D::zero(simd); M];
        for four in first..first + step {
            let codes = D::Codes::from_slice(simd, group.codes[four].as_flattened());
            for m in 0..M {
                let x = D::four_activations(simd, rows[m][i].codes.as_chunks().0[four]);
                if LIMIT == 0 {
                    dots[m] += D::dot_bytes(simd, codes, x);
                } else {
                    sums[m] = D::add_products(simd, sums[m], codes, x);
                }
            }
        }
        if LIMIT > 0 {
            for m in 0..M {
                dots[m] += D::summed(simd, sums[m]);
            }
        }
    }
    dots
}
