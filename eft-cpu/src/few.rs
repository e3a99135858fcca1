//! Products of a few rows with K-quants, blocks of 256 entries: codes are unpacked in registers, and scales are applied to
//! integers.
use std::ops::Range;

use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, f32x8};

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{ORDER, SuperBlock};
use super::level::Dot;
use super::totals::totals;

/// How many bytes ahead of the block that is being multiplied memory is asked for. The processor's own prefetching does not
/// cover the latency, since a block takes about as long to compute as to read.
const AHEAD: usize = 2048;

/// The size in bytes of a row of activations from which weights are displaced in the L1 cache before they are multiplied. They are
/// then asked for earlier too, [`FAR_AHEAD`] bytes ahead, for the L2 cache.
const LONG: usize = 1 << 14;
const FAR_AHEAD: usize = 8192;

/// Rows of activations, arranged for blocks of 256 entries.
pub(super) struct SuperRows {
    /// The number of groups of 256 columns in a row.
    supers: usize,
    rows: Vec<Super>,
}

/// Eight groups of 32 columns of a row.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Super {
    codes: [[i8; GROUP]; 8],
    /// The scale of each group, in eight lanes.
    scales: [[f32; 8]; 8],
    /// For the first four groups and for the last four, the sums of the dequantised entries of their first halves, then
    /// of their last halves; and the sums of all eight groups. Each four are in the order of [`ORDER`].
    sums: [[f32; 8]; 3],
}

impl SuperRows {
    /// Rearranges rows whose columns are a multiple of 256.
    pub(super) fn new(x: &QuantisedActivations) -> Self {
        let supers = x.groups / 8;
        let mut rows = Vec::with_capacity(x.rows() * supers);
        for row in 0..x.rows() {
            for groups in x.row(row).as_chunks::<8>().0 {
                let half = |i: usize, half: usize| groups[i].sums[4 * half];
                let sums = |from: usize| std::array::from_fn(|i| half(from + ORDER[i % 4], i / 4));
                let totals = std::array::from_fn(|i| {
                    let group = i / 4 * 4 + ORDER[i % 4];
                    half(group, 0) + half(group, 1)
                });
                rows.push(Super {
                    codes: groups.map(|group| group.codes),
                    scales: groups.map(|group| [group.scale; 8]),
                    sums: [sums(0), sums(4), totals],
                });
            }
        }
        Self { supers, rows }
    }

    fn row(&self, row: usize) -> &[Super] {
        &self.rows[row * self.supers..(row + 1) * self.supers]
    }
}

/// Multiplies up to [`Dot::FEW`] rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: SuperBlock>(
    simd: S,
    weights: &[u8],
    x: &SuperRows,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    match out.len() {
        0 => {}
        1 => sums::<S, D, B, 1>(simd, weights, x, outputs, out),
        2 => sums::<S, D, B, 2>(simd, weights, x, outputs, out),
        3 => sums::<S, D, B, 3>(simd, weights, x, outputs, out),
        5 | 6 if D::FEW > 4 => sums::<S, D, B, 6>(simd, weights, x, outputs, out),
        7.. if D::FEW > 4 => sums::<S, D, B, 8>(simd, weights, x, outputs, out),
        _ => sums::<S, D, B, 4>(simd, weights, x, outputs, out),
    }
}

/// The same with up to `M` rows; if there are fewer, the last one is computed several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, B: SuperBlock, const M: usize>(
    simd: S,
    weights: &[u8],
    x: &SuperRows,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[Super]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = x.row(m.min(out.len() - 1));
            }
            let bytes = x.supers * B::BYTES;
            for (i, output) in outputs.enumerate() {
                let weights = &weights[output * bytes..][..bytes];
                let sums = output_sums::<S, D, B, M>(simd, weights, &rows);
                for (out, [sum]) in out.iter_mut().zip(sums) {
                    out[i] = sum;
                }
            }
        },
    );
}

/// The products of one output with `M` rows.
#[inline(always)]
fn output_sums<S: Simd, D: Dot<S>, B: SuperBlock, const M: usize>(
    simd: S,
    weights: &[u8],
    rows: &[&[Super]; M],
) -> [[f32; 1]; M] {
    let zero = D::Floats::simd_from(simd, 0.0);
    let mut sums = [[zero]; M];
    let long = size_of_val(rows[0]) > LONG;
    for (i, block) in weights.chunks_exact(B::BYTES).enumerate() {
        for line in 0..B::BYTES.div_ceil(64) {
            D::prefetch(block.as_ptr().wrapping_add(AHEAD + 64 * line));
            if long {
                D::prefetch_far(block.as_ptr().wrapping_add(FAR_AHEAD + 64 * line));
            }
        }
        let all = B::scales::<S, D>(simd, block);
        let mut products = [zero; M];
        for group in (0..8).step_by(D::GROUPS) {
            let first = B::codes(simd, block, group);
            // With vectors of one group it is not used, so nothing computes it.
            let codes = D::codes(simd, first, B::codes(simd, block, (group + 1) % 8));
            let repeat = <D::Scales as Bytes>::Bytes::from_slice(
                simd,
                &REPEAT.as_flattened()[32 * (group % 4)..][..32 * D::GROUPS],
            );
            let scales = D::repeated_scales(simd, all.scales[group / 4]).swizzle_dyn_within_blocks(repeat);
            for m in 0..M {
                let x = &rows[m][i];
                let x_codes = &x.codes.as_flattened()[32 * group..][..32 * D::GROUPS];
                let dot = D::dot_scaled(simd, codes, D::Activations::from_slice(simd, x_codes), scales);
                let scale = &x.scales.as_flattened()[8 * group..][..8 * D::GROUPS];
                products[m] =
                    dot.to_float::<D::Floats>().mul_add(D::Floats::from_slice(simd, scale), products[m]);
            }
        }
        let [first, last] = all.offsets;
        for m in 0..M {
            let of_x = &rows[m][i].sums;
            let of_groups = if B::HALF_SCALES {
                let last = last * f32x8::from_slice(simd, &of_x[1]);
                first.mul_add(f32x8::from_slice(simd, &of_x[0]), last)
            } else {
                first * f32x8::from_slice(simd, &of_x[2])
            };
            sums[m][0] = products[m].mul_add(all.scale, sums[m][0]);
            sums[m][0] = D::first_group(simd, of_groups).mul_add(all.offset, sums[m][0]);
        }
    }
    totals::<S, D, 1, M>(simd, &sums)
}

/// For each of four groups, the byte indices that repeat its number of 32 bits among four in the order of [`ORDER`].
static REPEAT: [[u8; 32]; 4] = {
    let mut indices = [[0; 32]; 4];
    let mut i = 0;
    while i < 4 * 32 {
        indices[i / 32][i % 32] = (4 * ORDER[i / 32] + i % 4) as u8;
        i += 1;
    }
    indices
};
