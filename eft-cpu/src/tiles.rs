//! Products of a few rows with blocks of 32 entries: a tile of weights is unpacked once for all rows.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdInt, SimdSplit, f32x8, i8x32, u8x32};

use super::activations::{QuantisedActivations, QuantisedGroup};
use super::blocks::{Block, Group, OUTPUTS};
use super::few::FEW;
use super::level::Dot;

/// Multiplies up to [`FEW`] rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: Block>(
    simd: S,
    weights: &[u8],
    x: &QuantisedActivations,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    let bytes = x.groups / B::GROUPS * B::BYTES;
    let mut tile = vec![Group::default(); x.groups];
    for first in outputs.clone().step_by(OUTPUTS) {
        let count = OUTPUTS.min(outputs.end - first);
        for output in 0..count {
            let weights = &weights[(first + output) * bytes..][..bytes];
            let blocks = weights.chunks_exact(B::BYTES).zip(tile.chunks_exact_mut(B::GROUPS));
            for (block, groups) in blocks {
                B::unpack::<S, D>(simd, block, output, groups);
            }
        }
        let to = first - outputs.start..first - outputs.start + count;
        let at = Tile { tile: &tile, x, to };
        match out.len() {
            0 => {}
            1 => sums::<S, D, 1>(simd, B::LARGEST, B::HALF_SCALES, at, out),
            2 => sums::<S, D, 2>(simd, B::LARGEST, B::HALF_SCALES, at, out),
            3 => sums::<S, D, 3>(simd, B::LARGEST, B::HALF_SCALES, at, out),
            _ => sums::<S, D, FEW>(simd, B::LARGEST, B::HALF_SCALES, at, out),
        }
    }
}

/// Where the sums of one tile are read and written.
struct Tile<'a> {
    tile: &'a [Group],
    x: &'a QuantisedActivations,
    /// The range of the outputs in each row of `out`.
    to: Range<usize>,
}

/// Computes the products of a tile's outputs with `M` rows. Independent of the kind of block, so that it is compiled
/// once for all kinds. Only codes of eight bits may have different scales in the two halves of a group.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, const M: usize>(
    simd: S,
    largest: u8,
    half_scales: bool,
    at: Tile<'_>,
    out: &mut [&mut [f32]],
) {
    let sums = match (largest == u8::MAX, half_scales) {
        (true, true) => simd.vectorize(
            #[inline(always)]
            || group_sums::<S, D, true, true, M>(simd, &at),
        ),
        (true, false) => simd.vectorize(
            #[inline(always)]
            || group_sums::<S, D, true, false, M>(simd, &at),
        ),
        (false, _) => simd.vectorize(
            #[inline(always)]
            || group_sums::<S, D, false, false, M>(simd, &at),
        ),
    };
    for (out, sums) in out.iter_mut().zip(sums) {
        out[at.to.clone()].copy_from_slice(&sums[..at.to.len()]);
    }
}

#[inline(always)]
fn group_sums<S: Simd, D: Dot<S>, const BYTES: bool, const HALVES: bool, const M: usize>(
    simd: S,
    at: &Tile<'_>,
) -> [[f32; OUTPUTS]; M] {
    // Loops rather than closures: the body of a closure is not compiled for the chosen vector instructions.
    let tile = at.tile;
    let mut rows: [&[QuantisedGroup]; M] = [&[]; M];
    for (m, row) in rows.iter_mut().enumerate() {
        *row = &at.x.row(m)[..tile.len()];
    }
    let zero = f32x8::splat(simd, 0.0);
    let mut sums = [[zero; OUTPUTS]; M];
    let mut offsets = [zero; M];
    for (i, group) in tile.iter().enumerate() {
        let mut codes = [u8x32::splat(simd, 0); OUTPUTS];
        let mut scales = [zero; OUTPUTS];
        for n in 0..OUTPUTS {
            codes[n] = u8x32::from_slice(simd, &group.codes[n]);
            let [first, last] = group.scales[n];
            // The first four lanes have the sums of the first half of the columns.
            scales[n] = if HALVES {
                f32x8::from_slice(simd, &[first, first, first, first, last, last, last, last])
            } else {
                f32x8::splat(simd, first)
            };
        }
        let group_offsets = f32x8::from_slice(simd, &group.offsets);
        for m in 0..M {
            let x = &rows[m][i];
            let row_codes = i8x32::from_slice(simd, &x.codes);
            let row_scale = f32x8::splat(simd, x.scale);
            offsets[m] = group_offsets.mul_add(f32x8::from_slice(simd, &x.sums), offsets[m]);
            for n in 0..OUTPUTS {
                let dot = if BYTES {
                    D::dot_bytes(simd, codes[n], row_codes)
                } else {
                    D::lanes(simd, D::add_products(simd, D::zero(simd), codes[n], row_codes))
                };
                let dot = dot.to_float::<f32x8<S>>();
                sums[m][n] = dot.mul_add(scales[n] * row_scale, sums[m][n]);
            }
        }
    }
    let mut out = [[0.0; OUTPUTS]; M];
    for m in 0..M {
        let (first, last) = offsets[m].split();
        (first + last).store_slice(&mut out[m]);
        for n in 0..OUTPUTS {
            out[m][n] += sums[m][n].reduce_sum();
        }
    }
    out
}
