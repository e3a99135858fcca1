//! [`Coded`]: blocks that others are unpacked to before they are multiplied.
//!
//! In these kinds, a few bits are the index of eight or four numbers in a table, or are numbers of base three. All of
//! them are exactly signed codes of eight bits with a scale for each 16. Unpacking them takes table look-ups, which gain
//! little from vector instructions, so a product first unpacks some outputs to blocks of this kind, and multiplies
//! with these. It takes longer than with other kinds, but the memory is that of the file.
mod grids;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod tq1_0;
mod tq2_0;

use eft_models::Blocks;
use fearless_simd::{Bytes, Simd};

use super::{Block, Column, Dot, Unpacked};

/// Signed codes of 32 entries, with a scale for each half.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Codes {
    scales: [f32; 2],
    codes: [i8; 32],
}

/// The eight groups of a block of 256 entries.
pub(crate) type Groups = [Codes; 8];

/// Unpacks a block of 256 entries.
pub(crate) type Unpack = fn(&[u8], &mut Groups);

/// A block of 32 entries: two scales as f32, then signed codes.
pub(crate) struct Coded;

impl Block for Coded {
    const GROUPS: usize = 1;
    const BYTES: usize = 40;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [first, last, ..] = column.words::<S, D>(simd, 0);
        for (half, scales) in [first, last].into_iter().enumerate() {
            groups[0].set_signed::<S, D>(half, scales.bitcast());
            for (four, codes) in column.sixteens::<S, D>(simd, 8 + 16 * half).into_iter().enumerate() {
                groups[0].set_signed_codes::<S, D>(4 * half + four, codes);
            }
        }
    }
}

impl Coded {
    /// The function that unpacks a kind of block; `None` for kinds that are multiplied as they are.
    pub(crate) fn unpacker(kind: Blocks) -> Option<Unpack> {
        Some(match kind {
            Blocks::IQ1S => iq1_s::unpack,
            Blocks::IQ1M => iq1_m::unpack,
            Blocks::IQ2XXS => iq2_xxs::unpack,
            Blocks::IQ2XS => iq2_xs::unpack,
            Blocks::IQ2S => iq2_s::unpack,
            Blocks::IQ3XXS => iq3_xxs::unpack,
            Blocks::IQ3S => iq3_s::unpack,
            Blocks::TQ1_0 => tq1_0::unpack,
            Blocks::TQ2_0 => tq2_0::unpack,
            _ => return None,
        })
    }

    /// Unpacks blocks of a kind to blocks of this kind.
    pub(crate) fn unpack_all(unpack: Unpack, kind: Blocks, blocks: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(blocks.len() / kind.bytes() * 8 * Self::BYTES);
        let mut groups = Groups::default();
        for block in blocks.chunks_exact(kind.bytes()) {
            unpack(block, &mut groups);
            for group in &groups {
                out.extend(group.scales.map(f32::to_le_bytes).as_flattened());
                out.extend(group.codes.map(i8::cast_unsigned));
            }
        }
    }
}

/// Reads an f16.
fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// Splits the next `N` bytes off a block.
fn next<'a, const N: usize>(block: &mut &'a [u8]) -> &'a [u8; N] {
    const { assert!(N <= 256) };
    match block.split_first_chunk() {
        Some((first, rest)) => {
            *block = rest;
            first
        }
        // Not reached: callers pass blocks of the length of their kind.
        None => &[0; N],
    }
}

/// The number of 16 bits at an index.
fn u16_at(bytes: &[u8], index: usize) -> u16 {
    bytes.as_chunks().0.get(index).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// Negates the numbers whose bits are set.
fn signed<const N: usize>(numbers: [i8; N], signs: u8) -> [i8; N] {
    let mut out = numbers;
    for (i, number) in out.iter_mut().enumerate() {
        *number = if signs >> i & 1 == 0 { *number } else { -*number };
    }
    out
}

/// The signs of eight numbers from an index of seven bits: the number of set bits is even.
fn even_signs(index: u32) -> u8 {
    let index = (index & 127) as u8;
    index | (index.count_ones() as u8 & 1) << 7
}
