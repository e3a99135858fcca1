//! Products of one row with K-quants, blocks of 256 entries: codes are unpacked in registers, and scales are applied to integers. With
//! several rows, the products in `lanes.rs` take less time, and with one row and other blocks about as long.
use std::ops::Range;

use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, f32x8};

use super::activations::{GROUP, QuantisedGroup};
use super::blocks::{ORDER, SuperBlock, codes_of};
use super::level::{Dot, LINE};
use super::totals::totals;

/// How many bytes ahead of the block that is being multiplied memory is asked for. The processor's own prefetching does not
/// cover the latency, since a block takes about as long to compute as to read.
const AHEAD: usize = 2048;

/// The same into the L2 cache, for larger blocks where the row is long.
const FAR_AHEAD: usize = 8192;

/// From this size in bytes on, the row displaces weights in the L1 cache before they are multiplied.
const LONG: usize = 1 << 13;

/// 256 columns of a row, arranged for blocks of 256 entries. Each scale is there `LANES` times, as
/// [`Dot::interleaved_scales`] reads it: twice if a vector holds two groups, otherwise eight times.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Super<const LANES: usize> {
    /// The codes of each group; if a vector holds two groups, those of each two are interleaved as by [`Dot::interleaved`].
    codes: [[i8; GROUP]; 8],
    /// The scale of each group.
    scales: [[f32; LANES]; 8],
    /// For the first four groups and for the last four, the sums of the dequantised entries of their first halves, then
    /// of their last halves; and the sums of all eight groups. Each four are in the order of [`ORDER`].
    sums: [[f32; 8]; 3],
}

impl<const LANES: usize> Super<LANES> {
    /// Rearranges a row whose columns are a multiple of 256.
    pub(super) fn new(row: &[QuantisedGroup]) -> Vec<Self> {
        let mut supers = Vec::with_capacity(row.len() / 8);
        for groups in row.as_chunks::<8>().0 {
            let sums = |from: usize| std::array::from_fn(|i| groups[from + ORDER[i % 4]].halves[i / 4]);
            let totals = std::array::from_fn(|i| groups[i / 4 * 4 + ORDER[i % 4]].sum);
            let mut codes = groups.map(|group| group.codes);
            if LANES == 2 {
                let pairs = groups.as_chunks::<2>().0.iter().zip(codes.as_chunks_mut::<2>().0);
                for ([first, second], codes) in pairs {
                    let eights = first.codes.as_chunks::<8>().0.iter().zip(second.codes.as_chunks().0);
                    let to = codes.as_flattened_mut().as_chunks_mut::<8>().0.as_chunks_mut().0;
                    eights.zip(to).for_each(|((first, second), to)| *to = [*first, *second]);
                }
            }
            let scales = groups.map(|group| [group.scale; LANES]);
            supers.push(Self { codes, scales, sums: [sums(0), sums(4), totals] });
        }
        supers
    }
}

/// Multiplies a row with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: SuperBlock, const LANES: usize>(
    simd: S,
    weights: &[u8],
    x: &[Super<LANES>],
    outputs: Range<usize>,
    out: &mut [f32],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let bytes = x.len() * B::BYTES;
            let weights = &weights[outputs.start * bytes..outputs.end * bytes];
            for (weights, out) in weights.chunks_exact(bytes).zip(out) {
                *out = output::<S, D, B, LANES>(simd, weights, x);
            }
        },
    );
}

/// The product of one output.
#[inline(always)]
fn output<S: Simd, D: Dot<S>, B: SuperBlock, const LANES: usize>(
    simd: S,
    weights: &[u8],
    row: &[Super<LANES>],
) -> f32 {
    let zero = D::Floats::simd_from(simd, 0.0);
    let mut sum = zero;
    // Smaller blocks are bound by arithmetic.
    let long = B::BYTES > 128 && size_of_val(row) > LONG;
    for (block, x) in weights.chunks_exact(B::BYTES).zip(row) {
        for line in 0..B::BYTES.div_ceil(LINE) {
            D::prefetch(block.as_ptr().wrapping_add(AHEAD + LINE * line));
            if long {
                D::prefetch_far(block.as_ptr().wrapping_add(FAR_AHEAD + LINE * line));
            }
        }
        let all = B::scales::<S, D>(simd, block);
        let mut products = zero;
        for group in (0..8).step_by(D::GROUPS) {
            let first = codes_of::<S, B>(simd, block, group);
            // With vectors of one group it is not used, so nothing computes it.
            let codes = D::interleaved(simd, first, codes_of::<S, B>(simd, block, (group + 1) % 8));
            let repeat = &REPEAT[D::GROUPS - 1][group % 4][..32 * D::GROUPS];
            let repeat = <D::Scales as Bytes>::Bytes::from_slice(simd, repeat);
            let scales = D::repeated_scales(simd, all.scales[group / 4]).swizzle_dyn_within_blocks(repeat);
            let x_codes = &x.codes.as_flattened()[32 * group..][..32 * D::GROUPS];
            let x_codes = D::Activations::from_slice(simd, x_codes);
            let x_scales = D::interleaved_scales(simd, x.scales[group..][..D::GROUPS].as_flattened());
            let dot = D::dot_scaled(simd, codes, x_codes, scales);
            products = dot.to_float::<D::Floats>().mul_add(x_scales, products);
        }
        let [first, last] = all.offsets;
        let of_groups = if B::HALF_SCALES {
            let last = last * f32x8::from_slice(simd, &x.sums[1]);
            first.mul_add(f32x8::from_slice(simd, &x.sums[0]), last)
        } else {
            first * f32x8::from_slice(simd, &x.sums[2])
        };
        sum = products.mul_add(all.scale, sum);
        sum = D::first_group(simd, of_groups).mul_add(all.offset, sum);
    }
    totals::<S, D, 1, 1>(simd, &[[sum]])[0][0]
}

/// With vectors of one group and of two: for each of four groups, or of the groups that begin a pair, the byte indices that repeat
/// its number of 32 bits among four in the order of [`ORDER`], or its own and that of the next group, in the order of
/// [`Dot::interleaved`].
static REPEAT: [[[u8; 64]; 4]; 2] = {
    let mut indices = [[[0; 64]; 4]; 2];
    let mut i = 0;
    while i < 2 * 4 * 64 {
        let (in_vector, group, byte) = (i / (4 * 64) + 1, i / 64 % 4, i % 64);
        let group = (group + if in_vector == 2 { byte / 8 % 2 } else { 0 }) % 4;
        indices[in_vector - 1][i / 64 % 4][byte] = (4 * ORDER[group] + byte % 4) as u8;
        i += 1;
    }
    indices
};
