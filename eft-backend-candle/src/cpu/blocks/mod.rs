//! The kinds of quantised blocks of GGUF files, one file for each, which unpacks it.
//!
//! All of them reduce to codes of up to eight bits with a scale and an offset for each group of 16 or 32 codes: an
//! entry is `scale·code + offset`.
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

pub(super) use q2_k::Q2K;
pub(super) use q3_k::Q3K;
pub(super) use q4_0::Q4_0;
pub(super) use q4_1::Q4_1;
pub(super) use q4_k::Q4K;
pub(super) use q5_0::Q5_0;
pub(super) use q5_1::Q5_1;
pub(super) use q5_k::Q5K;
pub(super) use q6_k::Q6K;
pub(super) use q8_0::Q8_0;

use super::level::Dot;
use fearless_simd::{
    Bytes, Simd, SimdBase, SimdCombine, SimdInt, SimdWiden, f32x8, i16x16, i32x8, u8x16, u8x32,
};

/// The number of outputs that are unpacked side by side.
pub(super) const OUTPUTS: usize = 4;

/// Unpacked weights: 32 columns of [`OUTPUTS`] outputs.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Group {
    pub(super) codes: [[u8; 32]; OUTPUTS],
    /// The scale of the first 16 columns and of the last 16.
    pub(super) scales: [[f32; 2]; OUTPUTS],
    /// The offsets of the first 16 columns for all outputs, then those of the last 16.
    pub(super) offsets: [f32; 2 * OUTPUTS],
}

impl Group {
    /// Sets one scale and offset for all columns of an output.
    #[inline(always)]
    fn scale(&mut self, output: usize, scale: f32, offset: f32) {
        self.scales[output] = [scale; 2];
        self.offsets[output] = offset;
        self.offsets[OUTPUTS + output] = offset;
    }

    /// Sets the scale and offset of one half of the columns of an output.
    #[inline(always)]
    fn scale_half(&mut self, output: usize, half: usize, scale: f32, offset: f32) {
        self.scales[output][half] = scale;
        self.offsets[half * OUTPUTS + output] = offset;
    }
}

/// A kind of quantised block.
pub(super) trait Block {
    /// The number of groups of 32 entries in a block.
    const GROUPS: usize;
    /// The size of a block in bytes.
    const BYTES: usize;
    /// Whether the two halves of a group have different scales.
    const HALF_SCALES: bool;
    /// The largest code.
    const LARGEST: u8;

    /// Unpacks one block of weights of `output` into `groups`, of which there are [`GROUPS`](Self::GROUPS).
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]);
}

/// A kind of block of 256 entries, whose scales and offsets are small integers times a number for the whole block.
pub(super) trait SuperBlock {
    /// See [`Block::BYTES`].
    const BYTES: usize;
    /// See [`Block::HALF_SCALES`].
    const HALF_SCALES: bool;
    /// See [`Block::LARGEST`].
    const LARGEST: u8;

    /// Returns the scales and offsets of a block.
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S>;

    /// Returns the codes of one of the eight groups of a block.
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S>;
}

/// The scales and offsets of a block of 256 entries.
#[derive(Clone, Copy)]
pub(super) struct SuperScales<S: Simd> {
    /// The scales of the first halves of the eight groups, then those of the last halves; to be multiplied with `scale`.
    pub(super) scales: i16x16<S>,
    pub(super) scale: f32,
    /// The offsets in the same order, to be multiplied with `offset`.
    pub(super) offsets: i16x16<S>,
    pub(super) offset: f32,
}

impl<S: Simd> SuperScales<S> {
    /// The offsets of the first halves, and those of the last halves.
    #[inline(always)]
    pub(super) fn offsets(&self) -> (f32x8<S>, f32x8<S>) {
        let (first, last) = self.offsets.widen();
        (first.to_float(), last.to_float())
    }
}

impl<B: SuperBlock> Block for B {
    const GROUPS: usize = 8;
    const BYTES: usize = B::BYTES;
    const HALF_SCALES: bool = B::HALF_SCALES;
    const LARGEST: u8 = B::LARGEST;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]) {
        let all = B::scales::<S, D>(simd, block);
        let (first, last): (i32x8<S>, i32x8<S>) = all.scales.widen();
        let (first, last) = (first.to_float::<f32x8<S>>() * all.scale, last.to_float::<f32x8<S>>() * all.scale);
        let (first_offsets, last_offsets) = all.offsets();
        let (first_offsets, last_offsets) = (first_offsets * all.offset, last_offsets * all.offset);
        for (i, group) in groups.iter_mut().enumerate() {
            group.scale_half(output, 0, first[i], first_offsets[i]);
            group.scale_half(output, 1, last[i], last_offsets[i]);
            B::codes(simd, block, i).store_slice(&mut group.codes[output]);
        }
    }
}

/// Reads `N` bytes of a block from `start` on.
#[inline(always)]
fn at<const N: usize>(block: &[u8], start: usize) -> &[u8; N] {
    const { assert!(N <= 256) };
    // Not reached without a value: callers pass blocks of the length of their kind.
    block.get(start..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
}

/// Reads an f16 at `start`.
#[inline(always)]
fn f16_at<S: Simd, D: Dot<S>>(simd: S, block: &[u8], start: usize) -> f32 {
    D::f16_to_f32(simd, *at::<2>(block, start))
}

/// For each of 16 numbers of 16 bits, a byte to take it from.
type Order = [u8; 16];

/// Takes the even ones of 16 bytes, then the odd ones: from the order of columns to first halves, then last halves.
const HALVES: Order = [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15];

/// Takes signed bytes in the given order, and widens them to 16 bits.
#[inline(always)]
fn widened<S: Simd>(simd: S, bytes: u8x16<S>, order: &Order) -> i16x16<S> {
    let mut twice = [0; 32];
    for (i, byte) in order.iter().enumerate() {
        (twice[2 * i], twice[2 * i + 1]) = (*byte, *byte);
    }
    let twice = u8x32::from_slice(simd, &twice);
    u8x32::block_splat(bytes).swizzle_dyn_within_blocks(twice).bitcast::<i16x16<S>>() >> 8
}

/// Takes `count` bits of each byte from bit `from` on, and moves them to bit `to`.
#[inline(always)]
fn moved<S: Simd>(bytes: u8x32<S>, from: usize, count: usize, to: usize) -> u8x32<S> {
    let kept = ((1 << count) - 1) as u8;
    if from > to {
        (bytes >> (from - to) as u32) & (kept << to)
    } else {
        (bytes & (kept << from)) << (to - from) as u32
    }
}

/// Takes the next `N` bytes of a block.
#[inline(always)]
fn take<'a, const N: usize>(block: &mut &'a [u8]) -> &'a [u8; N] {
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

/// Takes an f16 scale.
#[inline(always)]
fn scale<S: Simd, D: Dot<S>>(simd: S, block: &mut &[u8]) -> f32 {
    D::f16_to_f32(simd, *take::<2>(block))
}

/// Unpacks 16 bytes to 32 codes of four bits: the lower four bits of all bytes, then the upper four.
#[inline(always)]
fn nibbles<S: Simd>(simd: S, bytes: &[u8; 16]) -> u8x32<S> {
    let bytes = u8x16::from_slice(simd, bytes);
    (bytes & 0xF).combine(bytes >> 4)
}

/// Reads the scales and offsets at the start of `Q4_K` and `Q5_K` blocks: six bits for each group, times an f16 for the
/// block.
#[inline(always)]
fn six_bits<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
    // Four scales and four offsets in the lower six bits of eight bytes, and parts of the others: two bits above each of
    // these, and four bits of a scale and an offset in each of the last four bytes.
    let first = u64::from_le_bytes(*at(block, 4));
    let last = u64::from(u32::from_le_bytes(*at(block, 12)));
    let low = (last | (last << 28)) & 0x0f0f_0f0f_0f0f_0f0f;
    let words = [first & 0x3f3f_3f3f_3f3f_3f3f, low | ((first >> 2) & 0x3030_3030_3030_3030)];
    let bytes = u8x16::from_slice(simd, words.map(u64::to_le_bytes).as_flattened());
    SuperScales {
        scales: widened(simd, bytes, &[0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]),
        scale: f16_at::<S, D>(simd, block, 0),
        offsets: widened(simd, bytes, &[4, 5, 6, 7, 12, 13, 14, 15, 4, 5, 6, 7, 12, 13, 14, 15]),
        offset: -f16_at::<S, D>(simd, block, 2),
    }
}
