//! The kinds of quantised blocks: one file a kind, which unpacks it.
//!
//! All of them come down to codes of up to eight bits, and for each group of 16 or 32 a scale and an offset: an entry is
//! `scale·code + offset`.
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
use fearless_simd::{Simd, SimdBase, SimdCombine, u8x16, u8x32};

/// Outputs that are unpacked side by side.
pub(super) const OUTPUTS: usize = 4;

/// Unpacked weights: 32 columns of a few outputs.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Group {
    pub(super) codes: [[u8; 32]; OUTPUTS],
    /// Of the first 16 columns and the last 16.
    pub(super) scales: [[f32; 2]; OUTPUTS],
    /// Of all outputs' first 16 columns, then of all outputs' last 16.
    pub(super) offsets: [f32; 2 * OUTPUTS],
}

impl Group {
    /// The same scale and offset for all columns of an output.
    #[inline(always)]
    fn scale(&mut self, output: usize, scale: f32, offset: f32) {
        self.scales[output] = [scale; 2];
        self.offsets[output] = offset;
        self.offsets[OUTPUTS + output] = offset;
    }

    /// The scale and offset of half of the columns of an output.
    #[inline(always)]
    fn scale_half(&mut self, output: usize, half: usize, scale: f32, offset: f32) {
        self.scales[output][half] = scale;
        self.offsets[half * OUTPUTS + output] = offset;
    }
}

/// A kind of block.
pub(super) trait Block {
    /// Groups of 32 entries.
    const GROUPS: usize;
    /// Bytes.
    const BYTES: usize;
    /// Whether halves of a group have scales of their own.
    const HALVES: bool;

    /// Unpacks one block of an output's weights to as many groups as it has.
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]);
}

/// What follows in a block.
#[inline(always)]
fn take<'a, const N: usize>(block: &mut &'a [u8]) -> &'a [u8; N] {
    const { assert!(N <= 256) };
    match block.split_first_chunk() {
        Some((first, rest)) => {
            *block = rest;
            first
        }
        // Blocks are as long as their kind says.
        None => &[0; N],
    }
}

/// A scale of 16 bits.
#[inline(always)]
fn scale<S: Simd, D: Dot<S>>(simd: S, block: &mut &[u8]) -> f32 {
    D::half(simd, *take::<2>(block))
}

/// 16 bytes as 32 codes of four bits: all lower ones, then all upper ones.
#[inline(always)]
fn nibbles<S: Simd>(simd: S, bytes: &[u8; 16]) -> u8x32<S> {
    let bytes = u8x16::from_slice(simd, bytes);
    (bytes & 0xF).combine(bytes >> 4)
}

/// The scales and offsets that blocks of four and five bits begin with: of each group six bits, times one of 16 bits
/// for all.
#[inline(always)]
fn six_bits<S: Simd, D: Dot<S>>(simd: S, block: &mut &[u8], output: usize, groups: &mut [Group]) {
    let (all, all_offsets) = (scale::<S, D>(simd, block), scale::<S, D>(simd, block));
    let packed = take::<12>(block);
    let (first, last) = groups.split_at_mut(4);
    for i in 0..4 {
        let (scale, offset) = (packed[i] & 63, packed[i + 4] & 63);
        first[i].scale(output, all * f32::from(scale), -all_offsets * f32::from(offset));
        let scale = (packed[i + 8] & 0xF) | (packed[i] >> 6 << 4);
        let offset = (packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4);
        last[i].scale(output, all * f32::from(scale), -all_offsets * f32::from(offset));
    }
}
