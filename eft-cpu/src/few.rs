//! Products of a few rows with K-quants, blocks of 256 entries: codes are unpacked in registers, and scales are applied to
//! integers.
use std::ops::Range;

use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, f32x8};

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{ORDER, SuperBlock};
use super::level::Dot;
use super::outputs::{Ahead, several};
use super::totals::totals;

/// How many bytes ahead of the block that is being multiplied memory is asked for. The processor's own prefetching does not
/// cover the latency, since a block takes about as long to compute as to read.
const AHEAD: usize = 2048;

/// How many bytes ahead memory is asked for into the L2 cache: where several outputs are read side by side, and for larger blocks
/// where rows of activations are long.
const FAR_AHEAD: usize = 8192;

/// From this size in bytes on, a row of activations displaces weights in the L1 cache before they are multiplied. It was measured with
/// one row.
const LONG: usize = 1 << 13;

/// Rows of activations, arranged for blocks of 256 entries. Each scale is there `LANES` times, as
/// [`Dot::interleaved_scales`] reads it: twice if a vector holds two groups.
pub(super) struct SuperRows<const LANES: usize> {
    /// The number of groups of 256 columns in a row.
    supers: usize,
    rows: Vec<Super<LANES>>,
}

/// Eight groups of 32 columns of a row.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Super<const LANES: usize> {
    /// The codes of each group; if a vector holds two groups, those of each two are interleaved as by [`Dot::interleaved`].
    codes: [[i8; GROUP]; 8],
    /// The scale of each group.
    scales: [[f32; LANES]; 8],
    /// For the first four groups and for the last four, the sums of the dequantised entries of their first halves, then
    /// of their last halves; and the sums of all eight groups. Each four are in the order of [`ORDER`].
    sums: [[f32; 8]; 3],
}

impl<const LANES: usize> SuperRows<LANES> {
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
                let mut codes = groups.map(|group| group.codes);
                if LANES == 2 {
                    let pairs = groups.as_chunks::<2>().0.iter().zip(codes.as_chunks_mut::<2>().0);
                    for ([first, second], codes) in pairs {
                        let eights = first.codes.as_chunks::<8>().0.iter().zip(second.codes.as_chunks().0);
                        let to = codes.as_flattened_mut().as_chunks_mut::<8>().0.as_chunks_mut().0;
                        eights.zip(to).for_each(|((first, second), to)| *to = [*first, *second]);
                    }
                }
                rows.push(Super {
                    codes,
                    scales: groups.map(|group| [group.scale; LANES]),
                    sums: [sums(0), sums(4), totals],
                });
            }
        }
        Self { supers, rows }
    }

    fn row(&self, row: usize) -> &[Super<LANES>] {
        &self.rows[row * self.supers..(row + 1) * self.supers]
    }
}

/// Multiplies up to [`Dot::FEW`] rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: SuperBlock, const LANES: usize>(
    simd: S,
    weights: &[u8],
    x: &SuperRows<LANES>,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    if D::MANY_REGISTERS {
        match out.len() {
            0 => {}
            1 => sums::<S, D, B, LANES, 1, 1>(simd, weights, x, outputs, out),
            2 if !B::HALF_SCALES => sums::<S, D, B, LANES, 2, 2>(simd, weights, x, outputs, out),
            2 => sums::<S, D, B, LANES, 1, 2>(simd, weights, x, outputs, out),
            3 | 4 if !B::HALF_SCALES => sums::<S, D, B, LANES, 2, 4>(simd, weights, x, outputs, out),
            3 | 4 => sums::<S, D, B, LANES, 1, 4>(simd, weights, x, outputs, out),
            5 => sums::<S, D, B, LANES, 1, 5>(simd, weights, x, outputs, out),
            6 => sums::<S, D, B, LANES, 1, 6>(simd, weights, x, outputs, out),
            _ => sums::<S, D, B, LANES, 1, 8>(simd, weights, x, outputs, out),
        }
    } else {
        match out.len() {
            0 => {}
            1 => sums::<S, D, B, LANES, 1, 1>(simd, weights, x, outputs, out),
            2 => sums::<S, D, B, LANES, 1, 2>(simd, weights, x, outputs, out),
            3 => sums::<S, D, B, LANES, 1, 3>(simd, weights, x, outputs, out),
            _ => sums::<S, D, B, LANES, 1, 4>(simd, weights, x, outputs, out),
        }
    }
}

/// The same with up to `M` rows, `N` outputs at a time. If there are fewer rows, the last one is computed several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, B: SuperBlock, const LANES: usize, const N: usize, const M: usize>(
    simd: S,
    weights: &[u8],
    x: &SuperRows<LANES>,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[Super<LANES>]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = x.row(m.min(out.len() - 1));
            }
            let bytes = x.supers * B::BYTES;
            several::<N, M>(
                &weights[outputs.start * bytes..outputs.end * bytes],
                bytes,
                FAR_AHEAD,
                out,
                #[inline(always)]
                |outputs, ahead| output_sums::<S, D, B, LANES, N, M>(simd, outputs, &rows, ahead),
            );
        },
    );
}

/// The products of `N` outputs with `M` rows.
#[inline(always)]
fn output_sums<S: Simd, D: Dot<S>, B: SuperBlock, const LANES: usize, const N: usize, const M: usize>(
    simd: S,
    weights: &[&[u8]; N],
    rows: &[&[Super<LANES>]; M],
    mut ahead: Ahead<N>,
) -> [[f32; N]; M] {
    let zero = D::Floats::simd_from(simd, 0.0);
    let mut sums = [[zero; N]; M];
    // Smaller blocks are bound by arithmetic.
    let long = B::BYTES > 128 && size_of_val(rows[0]) > LONG;
    for i in 0..weights[0].len() / B::BYTES {
        let mut blocks: [&[u8]; N] = [&[]; N];
        for n in 0..N {
            blocks[n] = &weights[n][i * B::BYTES..][..B::BYTES];
            for line in 0..B::BYTES.div_ceil(64) {
                if N == 1 {
                    D::prefetch(blocks[n].as_ptr().wrapping_add(AHEAD + 64 * line));
                }
                if N > 1 || long {
                    D::prefetch_far(ahead.at(n, 64 * line));
                }
            }
        }
        ahead.advance(B::BYTES);
        let mut all = [B::scales::<S, D>(simd, blocks[0]); N];
        for n in 1..N {
            all[n] = B::scales::<S, D>(simd, blocks[n]);
        }
        let mut products = [[zero; N]; M];
        for group in (0..8).step_by(D::GROUPS) {
            let mut codes = [D::Codes::simd_from(simd, 0); N];
            let mut scales = [D::Scales::simd_from(simd, 0); N];
            let repeat = &REPEAT[D::GROUPS - 1][group % 4][..32 * D::GROUPS];
            let repeat = <D::Scales as Bytes>::Bytes::from_slice(simd, repeat);
            for n in 0..N {
                let first = B::codes(simd, blocks[n], group);
                // With vectors of one group it is not used, so nothing computes it.
                codes[n] = D::interleaved(simd, first, B::codes(simd, blocks[n], (group + 1) % 8));
                scales[n] =
                    D::repeated_scales(simd, all[n].scales[group / 4]).swizzle_dyn_within_blocks(repeat);
            }
            for m in 0..M {
                let x = &rows[m][i];
                let x_codes = &x.codes.as_flattened()[32 * group..][..32 * D::GROUPS];
                let x_codes = D::Activations::from_slice(simd, x_codes);
                let x_scales = D::interleaved_scales(simd, x.scales[group..][..D::GROUPS].as_flattened());
                for n in 0..N {
                    let dot = D::dot_scaled(simd, codes[n], x_codes, scales[n]);
                    products[m][n] = dot.to_float::<D::Floats>().mul_add(x_scales, products[m][n]);
                }
            }
        }
        for m in 0..M {
            let of_x = &rows[m][i].sums;
            for n in 0..N {
                let [first, last] = all[n].offsets;
                let of_groups = if B::HALF_SCALES {
                    let last = last * f32x8::from_slice(simd, &of_x[1]);
                    first.mul_add(f32x8::from_slice(simd, &of_x[0]), last)
                } else {
                    first * f32x8::from_slice(simd, &of_x[2])
                };
                sums[m][n] = products[m][n].mul_add(all[n].scale, sums[m][n]);
                sums[m][n] = D::first_group(simd, of_groups).mul_add(all[n].offset, sums[m][n]);
            }
        }
    }
    totals::<S, D, N, M>(simd, &sums)
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
