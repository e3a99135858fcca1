//! `Q6_K`: codes of six bits, minus 32. Each 16 entries have a signed scale of eight bits, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Block, Dot, Group, scale, take};

pub(in crate::cpu) struct Q6K;

impl Block for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = 210;
    const HALF_SCALES: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let (low, high) = (take::<128>(&mut block), take::<64>(&mut block));
        let halves = take::<16>(&mut block);
        let all = scale::<S, D>(simd, &mut block);
        for (i, half) in halves.iter().enumerate() {
            let scale = all * f32::from(*half as i8);
            groups[i / 2].scale_half(output, i % 2, scale, -32.0 * scale);
        }
        for (i, group) in groups.iter_mut().enumerate() {
            // The low four bits: the lower halves of 64 bytes, then their upper halves. The high two bits: 32 bytes
            // hold those of four groups.
            let low = u8x32::from_slice(simd, &low[i / 4 * 64 + i % 2 * 32..][..32]);
            let high = u8x32::from_slice(simd, &high[i / 4 * 32..][..32]);
            let low = (low >> (i as u32 % 4 / 2 * 4)) & 0xF;
            let high = (high >> (i as u32 % 4 * 2)) & 3;
            (low | (high << 4)).store_slice(&mut group.codes[output]);
        }
    }
}
