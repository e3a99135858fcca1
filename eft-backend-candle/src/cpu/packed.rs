//! Products with quantised weights: a tile of weights is unpacked to 8-bit codes once for all rows of activations.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::{Simd, SimdBase, SimdCombine, SimdFloat, SimdInt, SimdSplit, f32x4, f32x8, i8x32, u8x32};

use super::activations::{QuantisedActivations, QuantisedGroup};
use super::blocks::{Block, Group, OUTPUTS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::level::{Dot, Kernel};

/// The number of rows multiplied at once. This number times the outputs of a tile is the number of sums that fit into
/// the registers.
const ROWS: usize = 4;

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $value:expr) => {
        match $kind {
            Blocks::Q4_0 => {
                type $block = Q4_0;
                $value
            }
            Blocks::Q4_1 => {
                type $block = Q4_1;
                $value
            }
            Blocks::Q5_0 => {
                type $block = Q5_0;
                $value
            }
            Blocks::Q5_1 => {
                type $block = Q5_1;
                $value
            }
            Blocks::Q8_0 => {
                type $block = Q8_0;
                $value
            }
            Blocks::Q2K => {
                type $block = Q2K;
                $value
            }
            Blocks::Q3K => {
                type $block = Q3K;
                $value
            }
            Blocks::Q4K => {
                type $block = Q4K;
                $value
            }
            Blocks::Q5K => {
                type $block = Q5K;
                $value
            }
            Blocks::Q6K => {
                type $block = Q6K;
                $value
            }
        }
    };
}

/// The product of all rows with the weights of a range of outputs.
pub(super) struct Product<'a, 'out> {
    pub(super) kind: Blocks,
    pub(super) weights: &'a [u8],
    pub(super) x: &'a QuantisedActivations,
    pub(super) outputs: Range<usize>,
    /// For each row, the part that holds these outputs.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        for_kind!(self.kind, B => simd.vectorize(
            #[inline(always)]
            || product::<S, D, B>(simd, self),
        ));
    }
}

/// Dequantises rows of a matrix to f32.
pub(super) struct Dequantise<'a> {
    pub(super) kind: Blocks,
    pub(super) blocks: &'a [u8],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Dequantise<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        for_kind!(self.kind, B => simd.vectorize(
            #[inline(always)]
            || {
                let mut groups = [Group::default(); 8];
                let groups = &mut groups[..B::GROUPS];
                let out = self.out.chunks_exact_mut(32 * B::GROUPS);
                for (block, out) in self.blocks.chunks_exact(B::BYTES).zip(out) {
                    B::unpack::<S, D>(simd, block, 0, groups);
                    for (group, out) in groups.iter().zip(out.chunks_exact_mut(32)) {
                        for (i, (out, code)) in out.iter_mut().zip(group.codes[0]).enumerate() {
                            let (scale, offset) = (group.scales[0][i / 16], group.offsets[i / 16 * OUTPUTS]);
                            *out = scale * f32::from(code) + offset;
                        }
                    }
                }
            },
        ));
    }
}

#[inline(always)]
fn product<S: Simd, D: Dot<S>, B: Block>(simd: S, product: Product<'_, '_>) {
    let Product { weights, x, outputs, out, .. } = product;
    let bytes = x.groups / B::GROUPS * B::BYTES;
    let rows = x.rows();
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
        for row in (0..rows).step_by(ROWS) {
            let to = first - outputs.start..first - outputs.start + count;
            let at = Tile { tile: &tile, x, row, to };
            match rows - row {
                1 => sums::<S, D, 1>(simd, B::HALF_SCALES, at, out),
                2 => sums::<S, D, 2>(simd, B::HALF_SCALES, at, out),
                3 => sums::<S, D, 3>(simd, B::HALF_SCALES, at, out),
                _ => sums::<S, D, ROWS>(simd, B::HALF_SCALES, at, out),
            }
        }
    }
}

/// Where the sums of one tile are read and written.
struct Tile<'a> {
    tile: &'a [Group],
    x: &'a QuantisedActivations,
    /// The first row of activations.
    row: usize,
    /// The range of the outputs in each row of `out`.
    to: Range<usize>,
}

/// Computes the products of a tile's outputs with `M` rows. Independent of the kind of block, so that it is compiled
/// once for all kinds.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, const M: usize>(
    simd: S,
    half_scales: bool,
    at: Tile<'_>,
    out: &mut [&mut [f32]],
) {
    let sums = if half_scales {
        simd.vectorize(
            #[inline(always)]
            || group_sums::<S, D, true, M>(simd, &at),
        )
    } else {
        simd.vectorize(
            #[inline(always)]
            || group_sums::<S, D, false, M>(simd, &at),
        )
    };
    for (out, sums) in out[at.row..].iter_mut().zip(sums) {
        out[at.to.clone()].copy_from_slice(&sums[..at.to.len()]);
    }
}

#[inline(always)]
fn group_sums<S: Simd, D: Dot<S>, const HALF_SCALES: bool, const M: usize>(
    simd: S,
    at: &Tile<'_>,
) -> [[f32; OUTPUTS]; M] {
    // Loops rather than closures: the body of a closure is not compiled for the chosen vector instructions.
    let tile = at.tile;
    let mut rows: [&[QuantisedGroup]; M] = [&[]; M];
    for (m, row) in rows.iter_mut().enumerate() {
        *row = &at.x.row(at.row + m)[..tile.len()];
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
            scales[n] = if HALF_SCALES {
                f32x4::splat(simd, first).combine(f32x4::splat(simd, last))
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
                let dot = D::dot(simd, codes[n], row_codes).to_float::<f32x8<S>>();
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
