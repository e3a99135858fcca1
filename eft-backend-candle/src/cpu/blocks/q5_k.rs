//! `Q5_K`: codes of five bits. Each 32 entries have a scale and an offset of six bits each, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Block, Dot, Group, six_bits, take};

pub(in crate::cpu) struct Q5K;

impl Block for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = 176;
    const HALF_SCALES: bool = false;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        six_bits::<S, D>(simd, &mut block, output, groups);
        let high = u8x32::from_slice(simd, take::<32>(&mut block));
        for (i, pair) in (0..).step_by(2).zip(groups.chunks_exact_mut(2)) {
            let bytes = u8x32::from_slice(simd, take::<32>(&mut block));
            ((bytes & 0xF) | (((high >> i) & 1) << 4)).store_slice(&mut pair[0].codes[output]);
            ((bytes >> 4) | (((high >> (i + 1)) & 1) << 4)).store_slice(&mut pair[1].codes[output]);
        }
    }
}
