//! `Q3_K`: codes of three bits, minus 4. Each 16 entries have a scale of six bits, minus 32, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Block, Dot, Group, scale, take};

pub(in crate::cpu) struct Q3K;

impl Block for Q3K {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const HALF_SCALES: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let (high, low) = (take::<32>(&mut block), take::<64>(&mut block));
        let halves = take::<12>(&mut block);
        let all = scale::<S, D>(simd, &mut block);
        for i in 0..16 {
            let bits = (halves[i % 8] >> (i / 8 * 4) & 0xF) | (halves[8 + i % 4] >> (i / 4 * 2) & 3) << 4;
            let scale = all * (f32::from(bits) - 32.0);
            groups[i / 2].scale_half(output, i % 2, scale, -4.0 * scale);
        }
        let high = u8x32::from_slice(simd, high);
        for (i, group) in groups.iter_mut().enumerate() {
            let low = u8x32::from_slice(simd, &low[i / 4 * 32..][..32]);
            let low = (low >> (i as u32 % 4 * 2)) & 3;
            (low | (((high >> i as u32) & 1) << 2)).store_slice(&mut group.codes[output]);
        }
    }
}
