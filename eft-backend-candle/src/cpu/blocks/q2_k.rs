//! `Q2_K`: codes of two bits. Each 16 entries have a scale and an offset of four bits each, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Block, Dot, Group, scale, take};

pub(in crate::cpu) struct Q2K;

impl Block for Q2K {
    const GROUPS: usize = 8;
    const BYTES: usize = 84;
    const HALF_SCALES: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let (halves, bytes) = (take::<16>(&mut block), take::<64>(&mut block));
        let (all, all_offsets) = (scale::<S, D>(simd, &mut block), scale::<S, D>(simd, &mut block));
        for (i, half) in halves.iter().enumerate() {
            let (scale, offset) = (all * f32::from(half & 0xF), -all_offsets * f32::from(half >> 4));
            groups[i / 2].scale_half(output, i % 2, scale, offset);
        }
        for (i, group) in groups.iter_mut().enumerate() {
            let bytes = u8x32::from_slice(simd, &bytes[i / 4 * 32..][..32]);
            ((bytes >> (i as u32 % 4 * 2)) & 3).store_slice(&mut group.codes[output]);
        }
    }
}
