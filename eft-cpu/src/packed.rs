//! Products with quantised weights.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::Simd;

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{
    Block, Coded, Column, IQ4NL, IQ4XS, MXFP4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Small,
    Unpacked,
};
use super::lanes;
use super::level::{Dot, Kernel};

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind. All kinds that are unpacked to
/// [`Coded`] blocks before share one.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $code:expr) => {
        for_kind!(
            $kind, $block => $code;
            Q4_0: Small<Q4_0>, Q4_1: Small<Q4_1>, Q5_0: Small<Q5_0>, Q5_1: Small<Q5_1>, Q8_0: Small<Q8_0>,
            Q2K: Q2K, Q3K: Q3K, Q4K: Q4K, Q5K: Q5K, Q6K: Q6K, IQ4NL: IQ4NL, IQ4XS: IQ4XS, MXFP4: MXFP4
        )
    };
    ($kind:expr, $block:ident => $code:expr; $($name:ident: $type:ty),*) => {
        match $kind {
            $(Blocks::$name => {
                type $block = $type;
                $code
            })*
            Blocks::IQ1S
            | Blocks::IQ1M
            | Blocks::IQ2XXS
            | Blocks::IQ2XS
            | Blocks::IQ2S
            | Blocks::IQ3XXS
            | Blocks::IQ3S
            | Blocks::TQ1_0
            | Blocks::TQ2_0 => {
                type $block = Coded;
                $code
            }
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

/// The number of outputs that are unpacked to [`Coded`] blocks at once.
const UNPACKED: usize = 16;

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
        let unpack = Coded::unpacker(kind);
        let step = if unpack.is_some() { UNPACKED } else { outputs.len().max(1) };
        let row = x.groups * GROUP / kind.entries() * kind.bytes();
        let mut unpacked = Vec::new();
        for start in outputs.clone().step_by(step) {
            let end = outputs.end.min(start + step);
            let (weights, range) = match unpack {
                Some(unpack) => {
                    Coded::unpack_all(unpack, kind, &weights[start * row..end * row], &mut unpacked);
                    (&unpacked[..], 0..end - start)
                }
                None => (weights, start..end),
            };
            let part = start - outputs.start..end - outputs.start;
            let mut out: Vec<_> = out.iter_mut().map(|out| &mut out[part.clone()]).collect();
            let out = &mut out[..];
            for_kind!(kind, B => in_lanes!(S, D, B, simd, weights, x, range, out));
        }
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
        let Self { kind, blocks, out } = self;
        let mut unpacked = Vec::new();
        let blocks = match Coded::unpacker(kind) {
            Some(unpack) => {
                Coded::unpack_all(unpack, kind, blocks, &mut unpacked);
                &unpacked[..]
            }
            None => blocks,
        };
        let rows = Dequantise { kind, blocks, out };
        for_kind!(kind, B => dequantise!(S, D, B, simd, rows));
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
