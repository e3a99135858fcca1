//! `Q2_K`: codes of two bits. Each 16 entries have a scale and an offset of four bits each, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x16, u8x32};

use super::{Dot, SuperBlock, SuperScales, at, f16_at, halves, moved, once};

pub(crate) struct Q2K;

impl SuperBlock for Q2K {
    const BYTES: usize = 84;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 3;

    #[inline(always)]
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
        let bytes = u8x16::from_slice(simd, at::<16>(block, 0));
        SuperScales {
            scales: halves(simd, bytes & 0xF),
            scale: f16_at::<S, D>(simd, block, 80),
            offsets: once(halves(simd, bytes >> 4)),
            offset: -f16_at::<S, D>(simd, block, 82),
        }
    }

    #[inline(always)]
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S> {
        let bytes = u8x32::from_slice(simd, at::<32>(block, 16 + group / 4 * 32));
        moved(bytes, group % 4 * 2, 2, 0)
    }
}
