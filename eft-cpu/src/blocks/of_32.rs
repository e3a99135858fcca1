//! Kinds of blocks of 32 entries that begin with their scale as an f16. They differ only in what lies where, so that they are
//! described rather than programmed.
use std::marker::PhantomData;

use fearless_simd::{Simd, SimdBase, SimdFrom, u8x32};

use crate::level::BLOCKS;

use super::{Block, Dot, Group, at, f16_at, looked_up, nibbles};

/// A kind of block of 32 entries: its scale as an f16, its offset as an f16 if there is one, the fifth bits of its codes if they
/// have five, then its codes. Bytes of two codes hold those of the first 16 entries in their lower halves.
pub(crate) trait SmallBlock {
    /// What is added to the codes.
    const OFFSET: Offset;
    /// What the codes are.
    const CODES: Codes;

    /// See [`Block::LARGEST`].
    const LARGEST: u8 = match Self::CODES {
        Codes::Four => 15,
        Codes::Five => 31,
        Codes::Table(_) | Codes::Eight => u8::MAX,
    };
    /// Where the codes begin, or their fifth bits if there are such.
    const START: usize = match Self::OFFSET {
        Offset::Stored => 4,
        Offset::Minus(_) | Offset::Signed => 2,
    };
    /// See [`Block::BYTES`].
    const BYTES: usize = Self::START
        + match Self::CODES {
            Codes::Four | Codes::Table(_) => 16,
            Codes::Five => 4 + 16,
            Codes::Eight => 32,
        };
}

/// The offset of a [`SmallBlock`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Offset {
    /// Two to this power is subtracted from each code.
    Minus(u32),
    /// None: codes are signed bytes.
    Signed,
    /// An f16 after the scale is added to each entry.
    Stored,
}

/// The codes of a [`SmallBlock`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Codes {
    /// Four bits.
    Four,
    /// Five bits, of which the highest lie apart, each in the bit whose number is that of the entry.
    Five,
    /// Four bits that select one of these signed bytes.
    Table([i8; 16]),
    /// Signed bytes.
    Eight,
}

/// Returns the codes of a block.
#[inline(always)]
fn codes<S: Simd, D: Dot<S>, B: SmallBlock>(simd: S, block: &[u8]) -> u8x32<S> {
    match B::CODES {
        Codes::Four => nibbles(simd, at(block, B::START)),
        Codes::Five => nibbles(simd, at(block, B::START + 4)) | D::fifth_bits(simd, *at(block, B::START)),
        Codes::Table(values) => looked_up(simd, values, nibbles(simd, at(block, B::START))),
        Codes::Eight => u8x32::from_slice(simd, at::<32>(block, B::START)),
    }
}

/// Returns the codes of [`Dot::BLOCKS`] blocks: the first 16 of each, side by side, and the last 16 of each.
#[inline(always)]
pub(crate) fn side_by_side<S: Simd, D: Dot<S>, B: SmallBlock>(simd: S, blocks: &[u8]) -> [D::Codes; 2] {
    match B::CODES {
        Codes::Four => nibbles_of_blocks::<S, D, B>(simd, blocks, B::START),
        Codes::Five => {
            let codes = nibbles_of_blocks::<S, D, B>(simd, blocks, B::START + 4);
            D::with_fifth_bits(simd, codes, blocks, B::START, B::BYTES)
        }
        Codes::Table(values) => {
            let mut table = [0; 16 * BLOCKS];
            for (i, value) in table.iter_mut().enumerate() {
                *value = values[i % 16].cast_unsigned();
            }
            let values = D::Codes::from_slice(simd, &table[..16 * D::BLOCKS]);
            let [first, last] = nibbles_of_blocks::<S, D, B>(simd, blocks, B::START);
            [values.swizzle_dyn_within_blocks(first), values.swizzle_dyn_within_blocks(last)]
        }
        Codes::Eight => {
            let first = D::side_by_side(simd, blocks, B::START, B::BYTES);
            [first, D::side_by_side(simd, blocks, B::START + 16, B::BYTES)]
        }
    }
}

/// The lower halves of 16 bytes of each block from `start` on, and their upper halves.
#[inline(always)]
fn nibbles_of_blocks<S: Simd, D: Dot<S>, B: SmallBlock>(
    simd: S,
    blocks: &[u8],
    start: usize,
) -> [D::Codes; 2] {
    let both = D::side_by_side(simd, blocks, start, B::BYTES);
    [both & D::Codes::simd_from(simd, 0xF), both >> 4]
}

/// A [`SmallBlock`] as a [`Block`].
pub(crate) struct Small<B>(PhantomData<B>);

impl<B: SmallBlock> Block for Small<B> {
    const GROUPS: usize = 1;
    const BYTES: usize = B::BYTES;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = B::LARGEST;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]) {
        let (scale, codes) = (f16_at::<S, D>(simd, block, 0), codes::<S, D, B>(simd, block));
        let offset = match B::OFFSET {
            Offset::Signed => return groups[0].signed::<S, D>(output, scale, codes),
            Offset::Minus(power) => -scale * (1 << power) as f32,
            Offset::Stored => f16_at::<S, D>(simd, block, 2),
        };
        groups[0].scale(output, scale, offset);
        codes.store_slice(&mut groups[0].codes[output]);
    }
}
