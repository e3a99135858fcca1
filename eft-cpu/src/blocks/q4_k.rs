//! `Q4_K`: codes of four bits. Each 32 entries have a scale and an offset of six bits each, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Dot, SuperBlock, SuperScales, at, six_bits};

pub(crate) struct Q4K;

impl SuperBlock for Q4K {
    const BYTES: usize = 144;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 15;

    #[inline(always)]
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
        six_bits::<S, D>(simd, block)
    }

    #[inline(always)]
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S> {
        // The lower halves of 32 bytes, then their upper halves.
        let bytes = u8x32::from_slice(simd, at::<32>(block, 16 + group / 2 * 32));
        if group.is_multiple_of(2) { bytes & 0xF } else { bytes >> 4 }
    }
}
