//! Products of a few rows with blocks of 32 entries: codes are unpacked in registers. Also for other blocks that have a scale
//! for each 32 or 16 entries.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdInt, f32x8, i8x32, u8x32};

use super::activations::{QuantisedActivations, QuantisedGroup};
use super::blocks::{Block, Group, OUTPUTS};
use super::few::{AHEAD, FEW};
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
    match out.len() {
        0 => {}
        1 => sums::<S, D, B, 1>(simd, weights, x, outputs, out),
        2 => sums::<S, D, B, 2>(simd, weights, x, outputs, out),
        3 => sums::<S, D, B, 3>(simd, weights, x, outputs, out),
        _ => sums::<S, D, B, FEW>(simd, weights, x, outputs, out),
    }
}

#[inline(always)]
fn sums<S: Simd, D: Dot<S>, B: Block, const M: usize>(
    simd: S,
    weights: &[u8],
    x: &QuantisedActivations,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[QuantisedGroup]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = x.row(m);
            }
            let bytes = x.groups / B::GROUPS * B::BYTES;
            for (i, output) in outputs.enumerate() {
                let weights = &weights[output * bytes..][..bytes];
                let sums = output_sums::<S, D, B, M>(simd, weights, &rows);
                for m in 0..M {
                    out[m][i] = sums[m];
                }
            }
        },
    );
}

/// The products of one output with `M` rows.
#[inline(always)]
fn output_sums<S: Simd, D: Dot<S>, B: Block, const M: usize>(
    simd: S,
    weights: &[u8],
    rows: &[&[QuantisedGroup]; M],
) -> [f32; M] {
    let zero = f32x8::splat(simd, 0.0);
    // Codes of eight bits that are multiplied as signed numbers have no offset.
    let has_offsets = !(D::SIGNED_BYTES && B::LARGEST == u8::MAX);
    // Apart from each other, so that fewer additions wait for one another.
    let (mut sums, mut offset_sums) = ([zero; M], [zero; M]);
    let mut groups = [Group::default(); 8];
    let groups = &mut groups[..B::GROUPS];
    for (i, block) in weights.chunks_exact(B::BYTES).enumerate() {
        for line in 0..B::BYTES.div_ceil(64) {
            D::prefetch(block.as_ptr().wrapping_add(AHEAD + 64 * line));
        }
        // After inlining, a single group stays in registers.
        B::unpack::<S, D>(simd, block, 0, groups);
        for (j, group) in groups.iter().enumerate() {
            let codes = u8x32::from_slice(simd, &group.codes[0]);
            let [first, last] = group.scales[0];
            let (first_offset, last_offset) = (group.offsets[0], group.offsets[OUTPUTS]);
            // The first four lanes have the sums of the first half of the columns.
            let (scales, offsets) = if B::HALF_SCALES {
                (halves(simd, first, last), halves(simd, first_offset, last_offset))
            } else {
                (f32x8::splat(simd, first), f32x8::splat(simd, first_offset))
            };
            for m in 0..M {
                let x = &rows[m][i * B::GROUPS + j];
                let row_codes = i8x32::from_slice(simd, &x.codes);
                let dot = if B::LARGEST == u8::MAX {
                    D::dot_bytes(simd, codes, row_codes)
                } else {
                    D::lanes(simd, D::add_products(simd, D::zero(simd), codes, row_codes))
                };
                let dot = dot.to_float::<f32x8<S>>();
                sums[m] = dot.mul_add(scales * f32x8::splat(simd, x.scale), sums[m]);
                if has_offsets {
                    offset_sums[m] = f32x8::from_slice(simd, &x.sums).mul_add(offsets, offset_sums[m]);
                }
            }
        }
    }
    let mut out = [0.0; M];
    for m in 0..M {
        out[m] = (sums[m] + offset_sums[m]).reduce_sum();
    }
    out
}

/// A number for each half of the lanes.
#[inline(always)]
fn halves<S: Simd>(simd: S, first: f32, last: f32) -> f32x8<S> {
    f32x8::from_slice(simd, &[first, first, first, first, last, last, last, last])
}
