//! Products with quantised weights.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::Simd;

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{
    Block, Coded, Column, IQ4NL, IQ4XS, MXFP4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Small,
    Unpacked,
};
use super::level::{self, Dot, Kernel};
use super::one_row::{self, Super};
use super::{instructions, lanes};

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind: the second
/// expression for kinds of super-blocks, the first for all others. All kinds that are unpacked to [`Coded`] blocks before share one.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $other:expr, $of_256:expr) => {
        match $kind {
            Blocks::Q4_0 => {
                type $block = Small<Q4_0>;
                $other
            }
            Blocks::Q4_1 => {
                type $block = Small<Q4_1>;
                $other
            }
            Blocks::Q5_0 => {
                type $block = Small<Q5_0>;
                $other
            }
            Blocks::Q5_1 => {
                type $block = Small<Q5_1>;
                $other
            }
            Blocks::Q8_0 => {
                type $block = Small<Q8_0>;
                $other
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
            Blocks::IQ4NL => {
                type $block = IQ4NL;
                $other
            }
            Blocks::IQ4XS => {
                type $block = IQ4XS;
                $other
            }
            Blocks::MXFP4 => {
                type $block = MXFP4;
                $other
            }
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
                $other
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

/// One row for blocks of 256 entries, for vectors of eight floats and of sixteen.
enum Supers {
    Eights(Vec<Super<8>>),
    Pairs(Vec<Super<2>>),
}

/// Quantised activations, arranged for the products that read them.
pub(super) struct Input {
    x: QuantisedActivations,
    /// If there is one row, and there are blocks of 256 entries.
    supers: Option<Supers>,
}

impl Input {
    /// Quantises rows of `columns` columns, for products with weights of the given kinds. The columns must be a multiple
    /// of the entries in a block of each kind.
    pub(super) fn new(x: &[f32], columns: usize, mut kinds: impl Iterator<Item = Blocks>) -> Self {
        let x = QuantisedActivations::new(x, columns);
        let is_super =
            |kind| matches!(kind, Blocks::Q2K | Blocks::Q3K | Blocks::Q4K | Blocks::Q5K | Blocks::Q6K);
        let supers =
            (x.rows() == 1 && kinds.any(is_super)).then(|| match level::groups(instructions::current()) {
                1 => Supers::Eights(Super::new(x.row(0))),
                _ => Supers::Pairs(Super::new(x.row(0))),
            });
        Self { x, supers }
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
        let unpack = Coded::unpacker(kind);
        let step = if unpack.is_some() { UNPACKED } else { outputs.len().max(1) };
        let row = x.x.groups * GROUP / kind.entries() * kind.bytes();
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
            multiply::<S, D>(simd, kind, weights, x, range, &mut out);
        }
    }
}

/// Multiplies with blocks of a kind, or with those that its blocks were unpacked to.
#[inline(always)]
fn multiply<S: Simd, D: Dot<S>>(
    simd: S,
    kind: Blocks,
    weights: &[u8],
    input: &Input,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    let x = &input.x;
    for_kind!(kind, B => in_lanes!(S, D, B, simd, weights, x, outputs, out), match (&input.supers, &mut *out) {
        // The activations were arranged for these instructions, so only one of the two is reached.
        (Some(Supers::Eights(x)), [out]) if D::GROUPS == 1 => {
            one_row::product::<S, D, B, 8>(simd, weights, x, outputs, out);
        }
        (Some(Supers::Pairs(x)), [out]) if D::GROUPS == 2 => {
            one_row::product::<S, D, B, 2>(simd, weights, x, outputs, out);
        }
        _ => in_lanes!(S, D, B, simd, weights, x, outputs, out),
    });
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
        for_kind!(
            kind,
            B => dequantise!(S, D, B, simd, rows),
            dequantise!(S, D, B, simd, rows)
        );
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
                B::unpack::<S, D, LANES, BYTES>(simd, &Column::new(lanes, std::ptr::null()), groups);
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
