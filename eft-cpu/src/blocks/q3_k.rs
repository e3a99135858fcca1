//! `Q3_K`: codes of three bits, minus 4. Each 16 entries have a scale of six bits, minus 32, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x16, u8x32};

use super::{Dot, SuperBlock, SuperScales, at, f16_at, halves, moved, once};

pub(crate) struct Q3K;

impl SuperBlock for Q3K {
    const BYTES: usize = 110;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 7;

    #[inline(always)]
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
        // The lower four bits of 16 scales in eight bytes, then their upper two bits in four bytes.
        let low = u64::from_le_bytes(*at(block, 96));
        let high = u64::from(u32::from_le_bytes(*at(block, 104)));
        let (first, last) = (high | ((high >> 2) << 32), (high >> 4) | ((high >> 6) << 32));
        let four = |bits: u64| bits & 0x0f0f_0f0f_0f0f_0f0f;
        let two = |bits: u64| (bits & 0x0303_0303_0303_0303) << 4;
        let words = [four(low) | two(first), four(low >> 4) | two(last)];
        let bytes = u8x16::from_slice(simd, words.map(u64::to_le_bytes).as_flattened());
        let [first, last] = halves(simd, bytes);
        let scales = [first - 32, last - 32];
        let scale = f16_at::<S, D>(simd, block, 108);
        SuperScales { scales, scale, offsets: once(scales), offset: -4.0 * scale }
    }

    #[inline(always)]
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S> {
        let high = u8x32::from_slice(simd, at::<32>(block, 0));
        let low = u8x32::from_slice(simd, at::<32>(block, 32 + group / 4 * 32));
        moved(low, group % 4 * 2, 2, 0) | moved(high, group, 1, 2)
    }
}
