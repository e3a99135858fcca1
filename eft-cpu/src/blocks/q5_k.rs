//! `Q5_K`: codes of five bits. Each 32 entries have a scale and an offset of six bits each, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Dot, SuperBlock, SuperScales, at, moved, six_bits};

pub(crate) struct Q5K;

impl SuperBlock for Q5K {
    const BYTES: usize = 176;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 31;

    #[inline(always)]
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
        six_bits::<S, D>(simd, block)
    }

    #[inline(always)]
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S> {
        // The lower four bits: the lower halves of 32 bytes, then their upper halves. The fifth: a bit of 32 bytes for
        // each group.
        let high = u8x32::from_slice(simd, at::<32>(block, 16));
        let low = u8x32::from_slice(simd, at::<32>(block, 48 + group / 2 * 32));
        let low = if group.is_multiple_of(2) { low & 0xF } else { low >> 4 };
        low | moved(high, group, 1, 4)
    }
}
