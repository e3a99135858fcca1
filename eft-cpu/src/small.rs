//! Products of a few rows with blocks of 32 entries that have an f16 as their scale: codes are unpacked in registers, one block
//! for each group of a vector.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, SimdInt};

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{Offset, SmallBlock};
use super::few::AHEAD;
use super::level::Dot;

/// Rows of activations, arranged for blocks of 32 entries.
pub(super) struct SmallRows {
    /// The number of pairs of groups in a row.
    pairs: usize,
    rows: Vec<Pair>,
}

/// Two groups of 32 columns of a row. The second one is zero after an odd number of groups.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Pair {
    codes: [[i8; GROUP]; 2],
    /// The scale of each group, in eight lanes.
    scales: [[f32; 8]; 2],
    /// For each four columns, the sum of the codes, negated.
    minus_codes: [[i32; 8]; 2],
    /// For each four columns, the sum of the dequantised entries.
    sums: [[f32; 8]; 2],
}

impl SmallRows {
    pub(super) fn new(x: &QuantisedActivations) -> Self {
        let pairs = x.groups.div_ceil(2);
        let mut rows = vec![Pair::default(); x.rows() * pairs];
        for (row, to) in rows.chunks_exact_mut(pairs).enumerate() {
            for (i, group) in x.row(row).iter().enumerate() {
                let (pair, half) = (&mut to[i / 2], i % 2);
                pair.codes[half] = group.codes;
                pair.scales[half] = [group.scale; 8];
                for (lane, codes) in group.codes.as_chunks::<4>().0.iter().enumerate() {
                    let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
                    pair.minus_codes[half][lane] = -sum;
                    pair.sums[half][lane] = group.scale * sum as f32;
                }
            }
        }
        Self { pairs, rows }
    }

    fn rows(&self) -> usize {
        self.rows.len() / self.pairs
    }

    fn row(&self, row: usize) -> &[Pair] {
        &self.rows[row * self.pairs..(row + 1) * self.pairs]
    }
}

/// Multiplies up to [`Dot::FEW`] rows with the weights of a range of outputs, each of which has `bytes` bytes.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: SmallBlock>(
    simd: S,
    (weights, bytes): (&[u8], usize),
    x: &SmallRows,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    let weights = &weights[outputs.start * bytes..outputs.end * bytes];
    match out.len() {
        0 => {}
        1 => sums::<S, D, B, 1>(simd, weights, bytes, x, out),
        2 => sums::<S, D, B, 2>(simd, weights, bytes, x, out),
        3 => sums::<S, D, B, 3>(simd, weights, bytes, x, out),
        5 | 6 if D::FEW > 4 => sums::<S, D, B, 6>(simd, weights, bytes, x, out),
        7.. if D::FEW > 4 => sums::<S, D, B, 8>(simd, weights, bytes, x, out),
        _ => sums::<S, D, B, 4>(simd, weights, bytes, x, out),
    }
}

/// The same with up to `M` rows; if there are fewer, the last one is computed several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, B: SmallBlock, const M: usize>(
    simd: S,
    weights: &[u8],
    bytes: usize,
    x: &SmallRows,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[Pair]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = x.row(m.min(x.rows() - 1));
            }
            for (i, weights) in weights.chunks_exact(bytes).enumerate() {
                let sums = output_sums::<S, D, B, M>(simd, weights, &rows);
                for (out, sum) in out.iter_mut().zip(sums) {
                    out[i] = sum;
                }
            }
        },
    );
}

/// The products of one output with `M` rows.
#[inline(always)]
fn output_sums<S: Simd, D: Dot<S>, B: SmallBlock, const M: usize>(
    simd: S,
    weights: &[u8],
    rows: &[&[Pair]; M],
) -> [f32; M] {
    let mut sums = [D::Floats::simd_from(simd, 0.0); M];
    for (i, blocks) in weights.chunks(D::GROUPS * B::BYTES).enumerate() {
        D::prefetch(blocks.as_ptr().wrapping_add(AHEAD));
        let first = &blocks[..B::BYTES];
        // The activations of a second group that does not exist are zero.
        let second = if blocks.len() > B::BYTES { &blocks[B::BYTES..] } else { first };
        let mut codes = D::codes(simd, B::codes::<S, D>(simd, first), B::codes::<S, D>(simd, second));
        let scales = D::f16s(simd, [first[0], first[1]], [second[0], second[1]]);
        let minus = match B::OFFSET {
            Offset::Signed if D::SIGNED_BYTES => None,
            Offset::Signed => {
                codes ^= D::Codes::simd_from(simd, 0x80);
                Some(7)
            }
            Offset::Minus(power) => Some(power),
            Offset::Stored => None,
        };
        let offsets = match B::OFFSET {
            Offset::Stored => Some(D::f16s(simd, [first[2], first[3]], [second[2], second[3]])),
            Offset::Minus(_) | Offset::Signed => None,
        };
        let (pair, half) = (i * D::GROUPS / 2, i * D::GROUPS % 2);
        for m in 0..M {
            let x = &rows[m][pair];
            let at_once = D::GROUPS;
            let x_codes = D::Activations::from_slice(simd, x.codes[half..][..at_once].as_flattened());
            let start = match minus {
                Some(power) => {
                    D::Sums::from_slice(simd, x.minus_codes[half..][..at_once].as_flattened()) << power
                }
                None => D::Sums::simd_from(simd, 0),
            };
            let dot = if B::LARGEST == u8::MAX {
                D::add_dot_bytes(simd, start, codes, x_codes)
            } else {
                D::add_dot(simd, start, codes, x_codes)
            };
            let x_scales = D::Floats::from_slice(simd, x.scales[half..][..at_once].as_flattened());
            sums[m] = dot.to_float::<D::Floats>().mul_add(scales * x_scales, sums[m]);
            if let Some(offsets) = offsets {
                let x_sums = D::Floats::from_slice(simd, x.sums[half..][..at_once].as_flattened());
                sums[m] = offsets.mul_add(x_sums, sums[m]);
            }
        }
    }
    let mut out = [0.0; M];
    for m in 0..M {
        out[m] = sums[m].reduce_sum();
    }
    out
}
