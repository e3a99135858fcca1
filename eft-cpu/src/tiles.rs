//! Products of a few rows with those kinds of blocks that are not unpacked in registers (`few.rs`, `small.rs`): a tile of weights
//! is unpacked to memory once for all rows.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, SimdSplit, f32x8};

use super::activations::{QuantisedActivations, QuantisedGroup};
use super::blocks::{Block, Group, OUTPUTS};
use super::level::Dot;

/// Multiplies up to [`Dot::FEW`] rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: Block>(
    simd: S,
    weights: &[u8],
    x: &QuantisedActivations,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    const { assert!(B::LARGEST == u8::MAX, "codes of fewer bits are not multiplied here") };
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
            1 => sums::<S, D, 1>(simd, B::HALF_SCALES, at, out),
            2 => sums::<S, D, 2>(simd, B::HALF_SCALES, at, out),
            3 => sums::<S, D, 3>(simd, B::HALF_SCALES, at, out),
            5 | 6 if D::FEW > 4 => sums::<S, D, 6>(simd, B::HALF_SCALES, at, out),
            7.. if D::FEW > 4 => sums::<S, D, 8>(simd, B::HALF_SCALES, at, out),
            _ => sums::<S, D, 4>(simd, B::HALF_SCALES, at, out),
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

/// Computes the products of a tile's outputs with up to `M` rows; if there are fewer, the last one is computed several
/// times. Independent of the kind of block, so that it is compiled once for all kinds. With `half_scales`, the two halves of a
/// group have different scales.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, const M: usize>(
    simd: S,
    half_scales: bool,
    at: Tile<'_>,
    out: &mut [&mut [f32]],
) {
    let sums = match half_scales {
        true => sums_by::<S, D, true, M>(simd, &at),
        false => sums_by::<S, D, false, M>(simd, &at),
    };
    for (out, sums) in out.iter_mut().zip(sums) {
        out[at.to.clone()].copy_from_slice(&sums[..at.to.len()]);
    }
}

/// The same, with as many outputs side by side as a vector has groups.
#[inline(always)]
fn sums_by<S: Simd, D: Dot<S>, const HALVES: bool, const M: usize>(
    simd: S,
    at: &Tile<'_>,
) -> [[f32; OUTPUTS]; M] {
    simd.vectorize(
        #[inline(always)]
        || {
            if D::GROUPS == 2 {
                group_sums::<S, D, HALVES, 2, M>(simd, at)
            } else {
                group_sums::<S, D, HALVES, OUTPUTS, M>(simd, at)
            }
        },
    )
}

/// The same, in `N` vectors.
#[inline(always)]
fn group_sums<S: Simd, D: Dot<S>, const HALVES: bool, const N: usize, const M: usize>(
    simd: S,
    at: &Tile<'_>,
) -> [[f32; OUTPUTS]; M] {
    // Loops rather than closures: the body of a closure without `#[inline(always)]` is not compiled for the chosen instructions.
    let tile = at.tile;
    let mut rows: [&[QuantisedGroup]; M] = [&[]; M];
    for (m, row) in rows.iter_mut().enumerate() {
        *row = &at.x.row(m.min(at.x.rows() - 1))[..tile.len()];
    }
    let zero = D::Floats::simd_from(simd, 0.0);
    let mut sums = [[zero; N]; M];
    let mut offsets = [f32x8::splat(simd, 0.0); M];
    for (i, group) in tile.iter().enumerate() {
        let mut codes = [D::Codes::simd_from(simd, 0); N];
        let mut scales = [zero; N];
        for n in 0..N {
            codes[n] = D::Codes::from_slice(
                simd,
                &group.codes.as_flattened()[32 * D::GROUPS * n..][..32 * D::GROUPS],
            );
            // The first four lanes of a group have the sums of the first half of the columns.
            scales[n] = if HALVES || D::GROUPS > 1 {
                D::scales_of_halves(simd, &group.scales[D::GROUPS * n..][..D::GROUPS])
            } else {
                D::Floats::simd_from(simd, group.scales[n][0])
            };
        }
        let group_offsets = f32x8::from_slice(simd, &group.offsets);
        for m in 0..M {
            let x = &rows[m][i];
            let row_codes = D::repeated(simd, &x.codes);
            offsets[m] = group_offsets.mul_add(f32x8::from_slice(simd, &x.sums), offsets[m]);
            for n in 0..N {
                let dot = D::dot_bytes(simd, codes[n], row_codes);
                sums[m][n] = dot.to_float::<D::Floats>().mul_add(scales[n] * x.scale, sums[m][n]);
            }
        }
    }
    let mut out = [[0.0; OUTPUTS]; M];
    for m in 0..M {
        let (first, last) = offsets[m].split();
        (first + last).store_slice(&mut out[m]);
        for n in 0..N {
            let sums = D::sums_of_groups(simd, sums[m][n]);
            for (out, sum) in out[m][D::GROUPS * n..].iter_mut().zip(&sums[..D::GROUPS]) {
                *out += sum;
            }
        }
    }
    out
}
