//! Kinds of blocks of 32 entries that begin with their scale as an f16. They differ only in what lies where, so that they are
//! described rather than programmed.
use std::marker::PhantomData;

use fearless_simd::{Bytes, Simd, SimdBase};

use crate::level::BLOCKS;

use super::{Block, Column, Dot, Unpacked};

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
        Codes::Eight => u8::MAX,
    };
    /// Where the codes begin, or their fifth bits if there are such.
    const START: usize = match Self::OFFSET {
        Offset::Stored => 4,
        Offset::Minus(_) | Offset::Signed => 2,
    };
    /// See [`Block::BYTES`].
    const BYTES: usize = Self::START
        + match Self::CODES {
            Codes::Four => 16,
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
    /// Signed bytes.
    Eight,
}

/// A [`SmallBlock`] as a [`Block`].
pub(crate) struct Small<B>(PhantomData<B>);

impl<B: SmallBlock> Block for Small<B> {
    const GROUPS: usize = 1;
    const BYTES: usize = B::BYTES;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = B::LARGEST;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let group = &mut groups[0];
        let [all, next, ..] = column.words::<S, D>(simd, 0);
        let scales = D::f16_lanes(simd, all);
        match B::OFFSET {
            Offset::Minus(power) => group.set::<S, D>(0, scales, scales * -((1 << power) as f32)),
            Offset::Signed => group.set_signed::<S, D>(0, scales),
            Offset::Stored => group.set::<S, D>(0, scales, D::f16_lanes(simd, all >> 16)),
        }
        match B::CODES {
            Codes::Four => {
                for (four, bytes) in column.sixteens::<S, D>(simd, B::START).into_iter().enumerate() {
                    group.set_codes::<S, D>(four, bytes & 0xF);
                    group.set_codes::<S, D>(4 + four, bytes >> 4);
                }
            }
            Codes::Five => {
                let high = if B::START == 4 { next } else { ((all >> 16) & 0xFFFF) | (next << 16) };
                let high = high.bitcast::<D::Codes>();
                for (four, bytes) in column.sixteens::<S, D>(simd, B::START + 4).into_iter().enumerate() {
                    for (half, bytes) in [bytes & 0xF, bytes >> 4].into_iter().enumerate() {
                        let (byte, bit) = (2 * half + four / 2, 4 * (four % 2));
                        let (mut indices, mut own) = ([0; 16 * BLOCKS], [0; 16 * BLOCKS]);
                        for i in 0..16 * BLOCKS {
                            indices[i] = (i % 16 / 4 * 4 + byte) as u8;
                            own[i] = 1 << (bit + i % 4);
                        }
                        let indices = D::Codes::from_slice(simd, &indices[..4 * LANES]);
                        let own = D::Codes::from_slice(simd, &own[..4 * LANES]);
                        let bits = high.swizzle_dyn_within_blocks(indices);
                        group.set_codes::<S, D>(4 * half + four, D::with_set_bits(simd, bytes, bits, own));
                    }
                }
            }
            Codes::Eight => {
                for half in 0..2 {
                    let codes = column.sixteens::<S, D>(simd, B::START + 16 * half);
                    for (four, codes) in codes.into_iter().enumerate() {
                        group.set_signed_codes::<S, D>(4 * half + four, codes);
                    }
                }
            }
        }
    }
}
