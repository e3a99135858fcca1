//! Products with quantised weights.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::Simd;

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{
    Block, Column, IQ1M, IQ1S, IQ2S, IQ2XS, IQ2XXS, IQ3S, IQ3XXS, IQ4NL, IQ4XS, MXFP4, Q2K, Q3K, Q4_0, Q4_1,
    Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Small, TQ1_0, TQ2_0, Unpacked,
};
use super::lanes;
use super::level::{Dot, Kernel};

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $code:expr) => {
        for_kind!(
            $kind, $block => $code;
            Q4_0: Small<Q4_0>, Q4_1: Small<Q4_1>, Q5_0: Small<Q5_0>, Q5_1: Small<Q5_1>, Q8_0: Small<Q8_0>,
            Q2K: Q2K, Q3K: Q3K, Q4K: Q4K, Q5K: Q5K, Q6K: Q6K, IQ1S: IQ1S, IQ1M: IQ1M, IQ2XXS: IQ2XXS, IQ2XS: IQ2XS,
            IQ2S: IQ2S, IQ3XXS: IQ3XXS, IQ3S: IQ3S, IQ4NL: IQ4NL, IQ4XS: IQ4XS, TQ1_0: TQ1_0, TQ2_0: TQ2_0, MXFP4: MXFP4
        )
    };
    ($kind:expr, $block:ident => $code:expr; $($name:ident: $type:ty),*) => {
        match $kind {
            $(Blocks::$name => {
                type $block = $type;
                $code
            })*
        }
    };
}

/// Calls [`lanes::product`] for the width of the vectors, in a function of its own.
macro_rules! in_lanes {
    ($S:ty, $D:ty, $block:ty, $simd:ident, $($arguments:ident),*) => {
        $simd.vectorize(
            #[inline(always)]
            || match <$D as Dot<$S>>::GROUPS {
                1 => lanes::product::<$S, $D, $block, 8, { <$block as Block>::BYTES }>($simd, $($arguments),*),
                _ => lanes::product::<$S, $D, $block, 16, { <$block as Block>::BYTES }>($simd, $($arguments),*),
            },
        )
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
        let Self { kind, weights, x, outputs, out } = self;
        for_kind!(kind, B => in_lanes!(S, D, B, simd, weights, x, outputs, out));
    }
}

/// Calls [`dequantise`] for the width of the vectors.
macro_rules! dequantise {
    ($S:ty, $D:ty, $block:ty, $simd:ident, $rows:ident) => {
        match <$D as Dot<$S>>::GROUPS {
            1 => dequantise::<$S, $D, $block, 8, { <$block as Block>::BYTES }>($simd, $rows),
            _ => dequantise::<$S, $D, $block, 16, { <$block as Block>::BYTES }>($simd, $rows),
        }
    };
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
        for_kind!(self.kind, B => dequantise!(S, D, B, simd, self));
    }
}

/// Dequantises as many blocks at once as a vector has lanes, as if they were of different outputs.
#[inline(always)]
fn dequantise<S: Simd, D: Dot<S>, B: Block, const LANES: usize, const BYTES: usize>(
    simd: S,
    rows: Dequantise<'_>,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut groups = [Unpacked::<LANES>::default(); 8];
            let groups = &mut groups[..B::GROUPS];
            let signed = D::SIGNED_BYTES && B::LARGEST == u8::MAX;
            let blocks = rows.blocks.as_chunks::<BYTES>().0.chunks(LANES);
            for (blocks, out) in blocks.zip(rows.out.chunks_mut(LANES * B::GROUPS * GROUP)) {
                let lanes = std::array::from_fn(|lane| &blocks[lane.min(blocks.len() - 1)]);
                B::unpack::<S, D, LANES, BYTES>(simd, &Column::new(lanes, std::ptr::null(), false), groups);
                for (i, out) in out.iter_mut().enumerate() {
                    let (lane, entry) = (i / (B::GROUPS * GROUP), i % (B::GROUPS * GROUP));
                    let (group, column) = (&groups[entry / GROUP], entry % GROUP);
                    let code = group.codes[column / 4][lane][column % 4];
                    let code = if signed { f32::from(code.cast_signed()) } else { f32::from(code) };
                    let half = if B::HALF_SCALES { column / 16 } else { 0 };
                    *out = group.scales[half][lane] * code + group.offsets[half][lane];
                }
            }
        },
    );
}
