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
use fearless_simd::{Simd, SimdBase, SimdCombine, u8x16, u8x32};

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

    /// Unpacks one block of weights of `output` into `groups`, of which there are [`GROUPS`](Self::GROUPS).
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]);
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

/// Takes the scales and offsets at the start of `Q4_K` and `Q5_K` blocks: six bits for each group, times an f16 for the
/// block.
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
