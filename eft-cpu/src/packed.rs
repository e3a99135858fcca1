//! Products with quantised weights.
use std::ops::Range;

use eft_models::Blocks;
use fearless_simd::Simd;

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{
    Block, Coded, Group, IQ4NL, IQ4XS, MXFP4, OUTPUTS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
    Small,
};
use super::few::{self, SuperRows};
use super::level::{self, Dot, Kernel};
use super::many::{self, RowBlocks};
use super::small::{self, SmallRows};
use super::{instructions, tiles};

/// Chooses by the kind of block, which is known at run time, among code that is compiled for each kind: the second
/// expression for kinds of super-blocks, the third for small blocks with an f16 as their scale, the first for all others. All
/// kinds that are unpacked to [`Coded`] blocks before share one.
macro_rules! for_kind {
    ($kind:expr, $block:ident => $other:expr, $of_256:expr, $small:expr) => {
        match $kind {
            Blocks::Q4_0 => {
                type $block = Q4_0;
                $small
            }
            Blocks::Q4_1 => {
                type $block = Q4_1;
                $small
            }
            Blocks::Q5_0 => {
                type $block = Q5_0;
                $small
            }
            Blocks::Q5_1 => {
                type $block = Q5_1;
                $small
            }
            Blocks::Q8_0 => {
                type $block = Q8_0;
                $small
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
                $small
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

/// The number of outputs that are unpacked to [`Coded`] blocks at once.
const UNPACKED: usize = 16;

/// A few rows for blocks of 256 entries, for vectors of eight floats and of sixteen.
pub(super) enum Supers {
    Eights(SuperRows<8>),
    Pairs(SuperRows<2>),
}

/// Quantised activations, arranged for the products that read them.
pub(super) enum Input {
    /// A few rows: as they are, and arranged for blocks of 256 entries and for small blocks, where there are such.
    Few(QuantisedActivations, Option<Supers>, Option<SmallRows>),
    /// Many rows, for vectors of eight floats.
    Eights(RowBlocks<8>),
    /// Many rows, for vectors of sixteen.
    Sixteens(RowBlocks<16>),
}

impl Input {
    /// Quantises rows of `columns` columns, for products with weights of the given kinds. The columns must be a multiple
    /// of the entries in a block of each kind.
    pub(super) fn new(x: &[f32], columns: usize, mut kinds: impl Iterator<Item = Blocks> + Clone) -> Self {
        let quantised = QuantisedActivations::new(x, columns);
        let (groups, few) = level::sizes(instructions::current());
        if quantised.rows() > few {
            return match groups {
                1 => Self::Eights(RowBlocks::new(&quantised)),
                _ => Self::Sixteens(RowBlocks::new(&quantised)),
            };
        }
        let is_super =
            |kind| matches!(kind, Blocks::Q2K | Blocks::Q3K | Blocks::Q4K | Blocks::Q5K | Blocks::Q6K);
        let is_small = |kind| {
            matches!(
                kind,
                Blocks::Q4_0 | Blocks::Q4_1 | Blocks::Q5_0 | Blocks::Q5_1 | Blocks::Q8_0 | Blocks::IQ4NL
            )
        };
        let supers = kinds.clone().any(is_super).then(|| match groups {
            1 => Supers::Eights(SuperRows::new(&quantised)),
            _ => Supers::Pairs(SuperRows::new(&quantised)),
        });
        let small = kinds.any(is_small).then(|| SmallRows::new(&quantised));
        Self::Few(quantised, supers, small)
    }

    /// The number of groups of 32 columns in a row.
    fn groups(&self) -> usize {
        match self {
            Self::Few(x, ..) => x.groups,
            Self::Eights(x) => x.groups,
            Self::Sixteens(x) => x.groups,
        }
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
        let row = x.groups() * 32 / kind.entries() * kind.bytes();
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
    x: &Input,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    match x {
        // The activations were arranged for these instructions, so only one of the two is reached.
        Input::Eights(x) if D::GROUPS == 1 => many_rows::<S, D, 8>(simd, kind, weights, x, outputs, out),
        Input::Sixteens(x) if D::GROUPS == 2 => many_rows::<S, D, 16>(simd, kind, weights, x, outputs, out),
        Input::Eights(_) | Input::Sixteens(_) => {
            unreachable!("the activations were arranged for other instructions")
        }
        Input::Few(x, supers, small) => {
            let bytes = x.groups * GROUP / kind.entries() * kind.bytes();
            let others = "the activations were arranged for other blocks or instructions";
            for_kind!(kind, B => simd.vectorize(
                #[inline(always)]
                || tiles::product::<S, D, B>(simd, weights, x, outputs, out),
            ), match supers {
                Some(Supers::Eights(x)) if D::GROUPS == 1 => few::product::<S, D, B, 8>(simd, weights, x, outputs, out),
                Some(Supers::Pairs(x)) if D::GROUPS == 2 => few::product::<S, D, B, 2>(simd, weights, x, outputs, out),
                _ => unreachable!("{others}"),
            }, match small {
                Some(x) => small::product::<S, D, B>(simd, (weights, bytes), x, outputs, out),
                None => unreachable!("{others}"),
            });
        }
    }
}

/// The same for many rows.
#[inline(always)]
fn many_rows<S: Simd, D: Dot<S>, const LANES: usize>(
    simd: S,
    kind: Blocks,
    weights: &[u8],
    x: &RowBlocks<LANES>,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    for_kind!(kind, B => simd.vectorize(
        #[inline(always)]
        || many::product::<S, D, B, LANES>(simd, weights, x, outputs, out),
    ), simd.vectorize(
        #[inline(always)]
        || many::product::<S, D, B, LANES>(simd, weights, x, outputs, out),
    ), simd.vectorize(
        #[inline(always)]
        || many::product::<S, D, Small<B>, LANES>(simd, weights, x, outputs, out),
    ));
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
            B => dequantise::<S, D, B>(simd, rows),
            dequantise::<S, D, B>(simd, rows),
            dequantise::<S, D, Small<B>>(simd, rows)
        );
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
