//! Products with quantised weights.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::Simd;

use super::activations::QuantisedActivations;
use super::blocks::{Block, Group, OUTPUTS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::few::{self, FEW, SuperRows};
use super::level::{Dot, Kernel};
use super::many::{self, RowBlocks};
use super::tiles;

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind: the first
/// expression for kinds with 32 entries in a block, the second for kinds with 256.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $of_32:expr, $of_256:expr) => {
        match $kind {
            Blocks::Q4_0 => {
                type $block = Q4_0;
                $of_32
            }
            Blocks::Q4_1 => {
                type $block = Q4_1;
                $of_32
            }
            Blocks::Q5_0 => {
                type $block = Q5_0;
                $of_32
            }
            Blocks::Q5_1 => {
                type $block = Q5_1;
                $of_32
            }
            Blocks::Q8_0 => {
                type $block = Q8_0;
                $of_32
            }
            Blocks::Q2K => {
                type $block = Q2K;
                $of_256
            }
            Blocks::Q3K => {
                type $block = Q3K;
                $of_256
            }
            Blocks::Q4K => {
                type $block = Q4K;
                $of_256
            }
            Blocks::Q5K => {
                type $block = Q5K;
                $of_256
            }
            Blocks::Q6K => {
                type $block = Q6K;
                $of_256
            }
        }
    };
}

/// Quantised activations, arranged for the products that read them.
pub(super) enum Input {
    /// A few rows: as they are, for blocks of 32 entries, and arranged for blocks of 256.
    Few(QuantisedActivations, Option<SuperRows>),
    Many(RowBlocks),
}

impl Input {
    /// Quantises rows of `columns` columns, for products with weights of the given kinds. The columns must be a multiple
    /// of the entries in a block of each kind.
    pub(super) fn new(x: &[f32], columns: usize, mut kinds: impl Iterator<Item = Blocks>) -> Self {
        let quantised = QuantisedActivations::new(x, columns);
        if quantised.rows() > FEW {
            return Self::Many(RowBlocks::new(&quantised));
        }
        let supers = kinds.any(|kind| kind.entries() == 256).then(|| SuperRows::new(&quantised));
        Self::Few(quantised, supers)
    }
}

/// The product of all rows with the weights of a range of outputs.
pub(super) struct Product<'a, 'out> {
    pub(super) kind: Blocks,
    pub(super) weights: &'a [u8],
    pub(super) x: &'a Input,
    pub(super) outputs: Range<usize>,
    /// For each row, the part that holds these outputs.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        let Self { kind, weights, x, outputs, out } = self;
        match x {
            Input::Many(x) => {
                for_kind!(kind, B => simd.vectorize(
                    #[inline(always)]
                    || many::product::<S, D, B>(simd, weights, x, outputs, out),
                ), simd.vectorize(
                    #[inline(always)]
                    || many::product::<S, D, B>(simd, weights, x, outputs, out),
                ));
            }
            Input::Few(x, supers) => {
                for_kind!(kind, B => simd.vectorize(
                    #[inline(always)]
                    || tiles::product::<S, D, B>(simd, weights, x, outputs, out),
                ), match supers {
                    Some(x) => few::product::<S, D, B>(simd, weights, x, outputs, out),
                    None => unreachable!("the activations were arranged for other kinds than {kind:?}"),
                });
            }
        }
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
        for_kind!(self.kind, B => dequantise::<S, D, B>(simd, self), dequantise::<S, D, B>(simd, self));
    }
}

#[inline(always)]
fn dequantise<S: Simd, D: Dot<S>, B: Block>(simd: S, rows: Dequantise<'_>) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut groups = [Group::default(); 8];
            let groups = &mut groups[..B::GROUPS];
            let out = rows.out.chunks_exact_mut(32 * B::GROUPS);
            let signed = D::SIGNED_BYTES && B::LARGEST == u8::MAX;
            for (block, out) in rows.blocks.chunks_exact(B::BYTES).zip(out) {
                B::unpack::<S, D>(simd, block, 0, groups);
                for (group, out) in groups.iter().zip(out.chunks_exact_mut(32)) {
                    for (i, (out, code)) in out.iter_mut().zip(group.codes[0]).enumerate() {
                        let (scale, offset) = (group.scales[0][i / 16], group.offsets[i / 16 * OUTPUTS]);
                        let code = if signed { f32::from(code as i8) } else { f32::from(code) };
                        *out = scale * code + offset;
                    }
                }
            }
        },
    );
}
