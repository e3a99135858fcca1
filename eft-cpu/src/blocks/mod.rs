//! The kinds of quantised blocks of GGUF files, one file for each, which unpacks it. Kinds whose codes are indices into
//! large tables are unpacked to blocks of another kind first: see [`coded`].
//!
//! All of them reduce to codes of up to eight bits with a scale and an offset for each group of 16 or 32 codes: an
//! entry is `scale·code + offset`.
mod coded;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod of_32;
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

pub(super) use coded::Coded;
pub(super) use iq4_nl::IQ4NL;
pub(super) use iq4_xs::IQ4XS;
pub(super) use mxfp4::MXFP4;
pub(super) use of_32::{Offset, Small, SmallBlock, side_by_side};
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
    Bytes, Simd, SimdBase, SimdCombine, SimdInt, SimdSplit, f32x8, i16x16, i32x8, u8x16, u8x32, u32x8,
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

impl Group {
    /// Sets the codes of an output, which are signed bytes, and one scale for all columns.
    #[inline(always)]
    fn signed<S: Simd, D: Dot<S>>(&mut self, output: usize, scale: f32, codes: u8x32<S>) {
        let (codes, offset) = if D::SIGNED_BYTES { (codes, 0.0) } else { (codes ^ 0x80, -128.0 * scale) };
        self.scale(output, scale, offset);
        codes.store_slice(&mut self.codes[output]);
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
    /// The scales of the first four groups and of the last four, each scale twice: first those of the groups' first
    /// halves, then those of their last halves, each four in the order of [`ORDER`]. They are to be multiplied with
    /// `scale`.
    pub(super) scales: [i16x16<S>; 2],
    pub(super) scale: f32,
    /// The offsets, to be multiplied with `offset`. If halves have different scales: for the first four groups and for
    /// the last four, the offsets of the first halves, then those of the last halves. Otherwise, the offsets of all
    /// eight groups, then zeros. Each four are in the order of [`ORDER`].
    pub(super) offsets: [f32x8<S>; 2],
    pub(super) offset: f32,
}

/// The order of four groups. In this order, their bytes are repeated by a single instruction.
pub(super) const ORDER: [usize; 4] = [0, 2, 1, 3];

/// Converts scales of a [`SuperScales`] to one number each.
#[inline(always)]
fn once<S: Simd>([first, last]: [i16x16<S>; 2]) -> [f32x8<S>; 2] {
    [(first.bitcast::<i32x8<S>>() >> 16).to_float(), (last.bitcast::<i32x8<S>>() >> 16).to_float()]
}

impl<B: SuperBlock> Block for B {
    const GROUPS: usize = 8;
    const BYTES: usize = B::BYTES;
    const HALF_SCALES: bool = B::HALF_SCALES;
    const LARGEST: u8 = B::LARGEST;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]) {
        let all = B::scales::<S, D>(simd, block);
        let [first, last] = once(all.scales);
        let scales = [(first * all.scale).to_array(), (last * all.scale).to_array()];
        let [first, last] = all.offsets;
        let offsets = [(first * all.offset).to_array(), (last * all.offset).to_array()];
        for (i, group) in groups.iter_mut().enumerate() {
            for half in 0..2 {
                let at = ORDER[i % 4];
                let scale = scales[i / 4][at + 4 * half];
                let offset =
                    if B::HALF_SCALES { offsets[i / 4][at + 4 * half] } else { offsets[0][at + i / 4 * 4] };
                group.scale_half(output, half, scale, offset);
            }
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

/// Repeats bytes four times each. The first four of the eight indices are for the first half of the result and select
/// bytes of the first half of `bytes`, the last four those of the last halves; each four are put into the order of
/// [`ORDER`].
#[inline(always)]
fn repeated<S: Simd>(simd: S, bytes: u8x32<S>, from: [u8; 8]) -> u8x32<S> {
    let mut indices = [0; 32];
    for (i, index) in indices.iter_mut().enumerate() {
        *index = from[ORDER[i / 4 % 4] + i / 16 * 4];
    }
    bytes.swizzle_dyn_within_blocks(u8x32::from_slice(simd, &indices))
}

/// Takes signed bytes as numbers of 16 bits, each twice. See [`repeated`].
#[inline(always)]
fn twice<S: Simd>(simd: S, bytes: u8x32<S>, from: [u8; 8]) -> i16x16<S> {
    repeated(simd, bytes, from).bitcast::<i16x16<S>>() >> 8
}

/// Widens signed bytes, one for each half of a group, to the order of [`SuperScales::scales`].
#[inline(always)]
fn halves<S: Simd>(simd: S, bytes: u8x16<S>) -> [i16x16<S>; 2] {
    let bytes = u8x32::block_splat(bytes);
    [twice(simd, bytes, [0, 2, 4, 6, 1, 3, 5, 7]), twice(simd, bytes, [8, 10, 12, 14, 9, 11, 13, 15])]
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

/// Unpacks 16 bytes to 32 codes of four bits: the lower four bits of all bytes, then the upper four.
#[inline(always)]
fn nibbles<S: Simd>(simd: S, bytes: &[u8; 16]) -> u8x32<S> {
    let bytes = u8x16::from_slice(simd, bytes);
    (bytes & 0xF).combine(bytes >> 4)
}

/// Looks up 32 numbers below 16 in a table of signed bytes.
#[inline(always)]
fn looked_up<S: Simd>(simd: S, table: [i8; 16], indices: u8x32<S>) -> u8x32<S> {
    let table = u8x16::from_slice(simd, &table.map(i8::cast_unsigned));
    u8x32::block_splat(table).swizzle_dyn_within_blocks(indices)
}

/// Reads the scales and offsets at the start of `Q4_K` and `Q5_K` blocks: six bits for each group, times an f16 for the
/// block.
#[inline(always)]
fn six_bits<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
    // An f16 for the scales and one for the offsets; four scales and four offsets in the lower six bits of eight bytes;
    // and parts of the others: two bits above each of these, and four bits of a scale and an offset in each of the last
    // four bytes.
    let header = at::<16>(block, 0);
    let all = D::f16x8_to_f32(simd, header);
    let bytes = u8x32::block_splat(u8x16::from_slice(simd, header));
    let first = bytes & 0x3F;
    let mut indices = [0; 32];
    for (i, index) in indices.iter_mut().enumerate() {
        *index = 12 + i as u8 % 4;
    }
    let words = bytes.swizzle_dyn_within_blocks(u8x32::from_slice(simd, &indices)).bitcast::<u32x8<S>>();
    let shifts = u32x8::from_slice(simd, &[0, 0, 4, 0, 0, 0, 4, 0]);
    let last = ((words >> shifts).bitcast::<u8x32<S>>() & 0xF) | ((bytes >> 2) & 0x30);
    let both = first.split().0.combine(last.split().1);
    let offsets = repeated(simd, both, [8, 9, 10, 11, 8, 9, 10, 11]).bitcast::<u32x8<S>>() >> 24;
    SuperScales {
        scales: [twice(simd, first, [4, 5, 6, 7, 4, 5, 6, 7]), twice(simd, last, [4, 5, 6, 7, 4, 5, 6, 7])],
        scale: all[0],
        offsets: [offsets.bitcast::<i32x8<S>>().to_float(), f32x8::splat(simd, 0.0)],
        offset: -all[1],
    }
}
