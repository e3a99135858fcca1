//! Products of a few rows with blocks of 32 entries that have an f16 as their scale: the codes of several blocks are unpacked in
//! registers, side by side.
//!
//! A vector holds 16 codes of each of its blocks: first those of the first 16 columns of all blocks, then those of the last 16.
//! Both are multiplied and added up as integers, so that a block has four sums, to which its scale is applied.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, SimdInt};

use super::activations::QuantisedActivations;
use super::blocks::{Offset, SmallBlock, side_by_side};
use super::level::{BLOCKS, Dot};
use super::outputs::{Ahead, several};
use super::totals::totals;

/// How many bytes ahead of the blocks that are being multiplied memory is asked for.
const AHEAD: usize = 8192;

/// Rows of activations, arranged for blocks of 32 entries.
pub(super) struct SmallRows {
    /// The number of [`Four`] in a row.
    fours: usize,
    rows: Vec<Four>,
}

/// Four groups of 32 columns of a row, for four blocks. After the last group, the others are zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Four {
    /// The codes of the first 16 columns of each group, then of the last 16.
    codes: [[[i8; 16]; BLOCKS]; 2],
    /// The scale of each group, in four lanes.
    scales: [[f32; 4]; BLOCKS],
    /// Four sums of the codes of each group, negated: of eight columns each, as in the products.
    minus_codes: [[i32; 4]; BLOCKS],
    /// The same sums of the dequantised entries.
    sums: [[f32; 4]; BLOCKS],
}

impl SmallRows {
    pub(super) fn new(x: &QuantisedActivations) -> Self {
        let fours = x.groups.div_ceil(BLOCKS);
        let mut rows = vec![Four::default(); x.rows() * fours];
        for (row, to) in rows.chunks_exact_mut(fours).enumerate() {
            for (i, group) in x.row(row).iter().enumerate() {
                let (four, block) = (&mut to[i / BLOCKS], i % BLOCKS);
                let [first, last] = [0, 16].map(|start| std::array::from_fn(|i| group.codes[start + i]));
                (four.codes[0][block], four.codes[1][block]) = (first, last);
                four.scales[block] = [group.scale; 4];
                for (lane, codes) in first.as_chunks::<4>().0.iter().zip(last.as_chunks::<4>().0).enumerate()
                {
                    let sum: i32 = codes.0.iter().chain(codes.1).map(|code| i32::from(*code)).sum();
                    four.minus_codes[block][lane] = -sum;
                    four.sums[block][lane] = group.scale * sum as f32;
                }
            }
        }
        Self { fours, rows }
    }

    fn row(&self, row: usize) -> &[Four] {
        &self.rows[row * self.fours..(row + 1) * self.fours]
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
    if D::MANY_REGISTERS {
        match out.len() {
            0 => {}
            1 => sums::<S, D, B, 1, 1>(simd, weights, bytes, x, out),
            2 => sums::<S, D, B, 2, 2>(simd, weights, bytes, x, out),
            3 => sums::<S, D, B, 2, 3>(simd, weights, bytes, x, out),
            4 => sums::<S, D, B, 2, 4>(simd, weights, bytes, x, out),
            5 | 6 => sums::<S, D, B, 2, 6>(simd, weights, bytes, x, out),
            _ => sums::<S, D, B, 2, 8>(simd, weights, bytes, x, out),
        }
    } else {
        match out.len() {
            0 => {}
            1 => sums::<S, D, B, 2, 1>(simd, weights, bytes, x, out),
            2 => sums::<S, D, B, 1, 2>(simd, weights, bytes, x, out),
            3 => sums::<S, D, B, 1, 3>(simd, weights, bytes, x, out),
            _ => sums::<S, D, B, 1, 4>(simd, weights, bytes, x, out),
        }
    }
}

/// The same with up to `M` rows, `N` outputs at a time. If there are fewer rows, the last one is computed several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, B: SmallBlock, const N: usize, const M: usize>(
    simd: S,
    weights: &[u8],
    bytes: usize,
    x: &SmallRows,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[Four]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = x.row(m.min(out.len() - 1));
            }
            several::<N, M>(
                weights,
                bytes,
                AHEAD,
                out,
                #[inline(always)]
                |outputs, ahead| output_sums::<S, D, B, N, M>(simd, outputs, &rows, ahead),
            );
        },
    );
}

/// The products of `N` outputs with `M` rows.
#[inline(always)]
fn output_sums<S: Simd, D: Dot<S>, B: SmallBlock, const N: usize, const M: usize>(
    simd: S,
    weights: &[&[u8]; N],
    rows: &[&[Four]; M],
    mut ahead: Ahead<N>,
) -> [[f32; N]; M] {
    const { assert!(B::BYTES <= LARGEST_BLOCK) };
    let zero = D::Floats::simd_from(simd, 0.0);
    let size = D::BLOCKS * B::BYTES;
    let (whole, rest) = (weights[0].len() / size, weights[0].len() % size);
    // The last blocks of each output, if they do not fill a vector, and zeros.
    let mut last = [[0; BLOCKS * LARGEST_BLOCK]; N];
    if rest > 0 {
        for (last, weights) in last.iter_mut().zip(weights) {
            last[..rest].copy_from_slice(&weights[whole * size..]);
        }
    }
    // Where products need codes without a sign, 128 is added to signed ones (`^ 0x80`) and subtracted from the sums.
    let shifted = matches!(B::OFFSET, Offset::Signed) && !D::SIGNED_BYTES;
    let minus = match B::OFFSET {
        Offset::Minus(power) => Some(power),
        Offset::Signed if shifted => Some(7),
        Offset::Signed | Offset::Stored => None,
    };
    let mut sums = [[zero; N]; M];
    for i in 0..whole + usize::from(rest > 0) {
        let mut codes = [[D::Codes::simd_from(simd, 0); 2]; N];
        let (mut scales, mut offsets) = ([zero; N], [zero; N]);
        for n in 0..N {
            let blocks = if i < whole { &weights[n][i * size..][..size] } else { &last[n][..size] };
            for line in 0..size.div_ceil(64) {
                D::prefetch_far(ahead.at(n, 64 * line));
            }
            codes[n] = side_by_side::<S, D, B>(simd, blocks);
            if shifted {
                for codes in &mut codes[n] {
                    *codes ^= D::Codes::simd_from(simd, 0x80);
                }
            }
            match B::OFFSET {
                Offset::Stored => [scales[n], offsets[n]] = D::f16_pairs(simd, blocks, B::BYTES),
                Offset::Minus(_) | Offset::Signed => scales[n] = D::f16s(simd, blocks, B::BYTES),
            }
        }
        ahead.advance(size);
        let (four, block) = (i * D::BLOCKS / BLOCKS, i * D::BLOCKS % BLOCKS);
        for m in 0..M {
            let x = &rows[m][four];
            let mut x_codes = [D::Activations::simd_from(simd, 0); 2];
            for (vector, codes) in x_codes.iter_mut().zip(&x.codes) {
                *vector = D::Activations::from_slice(simd, codes[block..][..D::BLOCKS].as_flattened());
            }
            let x_scales = D::Floats::from_slice(simd, x.scales[block..][..D::BLOCKS].as_flattened());
            let start = match minus {
                Some(power) => {
                    D::Sums::from_slice(simd, x.minus_codes[block..][..D::BLOCKS].as_flattened()) << power
                }
                None => D::Sums::simd_from(simd, 0),
            };
            let x_sums = D::Floats::from_slice(simd, x.sums[block..][..D::BLOCKS].as_flattened());
            for n in 0..N {
                let dot = if B::LARGEST == u8::MAX {
                    D::add_dots_of_bytes(simd, start, codes[n], x_codes)
                } else {
                    D::add_dots(simd, start, codes[n], x_codes)
                };
                sums[m][n] = dot.to_float::<D::Floats>().mul_add(scales[n] * x_scales, sums[m][n]);
                if matches!(B::OFFSET, Offset::Stored) {
                    sums[m][n] = offsets[n].mul_add(x_sums, sums[m][n]);
                }
            }
        }
    }
    totals::<S, D, N, M>(simd, &sums)
}

/// The size of the largest block.
const LARGEST_BLOCK: usize = 34;
