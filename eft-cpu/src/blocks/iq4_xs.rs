//! `IQ4_XS`: codes of four bits that stand for the numbers of a table. Each 32 entries have a scale of six bits, minus
//! 32, times an f16 for all 256.
use fearless_simd::Simd;

use super::iq4_nl::VALUES;
use super::{Block, Dot, Group, at, f16_at, looked_up, nibbles};

pub(crate) struct IQ4XS;

impl Block for IQ4XS {
    const GROUPS: usize = 8;
    const BYTES: usize = 136;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, block: &[u8], output: usize, groups: &mut [Group]) {
        let all = f16_at::<S, D>(simd, block, 0);
        // The upper two bits of eight scales, then the lower four.
        let (high, low) = (u16::from_le_bytes(*at(block, 2)), u32::from_le_bytes(*at(block, 4)));
        for (i, group) in groups.iter_mut().enumerate() {
            let scale = (low >> (4 * i) & 15) as i32 | i32::from(high >> (2 * i) & 3) << 4;
            let codes = looked_up(simd, VALUES, nibbles(simd, at(block, 8 + 16 * i)));
            group.signed::<S, D>(output, all * (scale - 32) as f32, codes);
        }
    }
}
