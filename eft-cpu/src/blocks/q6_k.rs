//! `Q6_K`: codes of six bits, minus 32. Each 16 entries have a signed scale of eight bits, times an f16 for all 256.
use fearless_simd::{Simd, SimdBase, u8x16, u8x32};

use super::{Dot, SuperBlock, SuperScales, at, f16_at, halves, moved, once};

pub(crate) struct Q6K;

impl SuperBlock for Q6K {
    const BYTES: usize = 210;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 63;

    #[inline(always)]
    fn scales<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> SuperScales<S> {
        let scales = halves(simd, u8x16::from_slice(simd, at::<16>(block, 192)));
        let scale = f16_at::<S, D>(simd, block, 208);
        SuperScales { scales, scale, offsets: once(scales), offset: -32.0 * scale }
    }

    #[inline(always)]
    fn codes<S: Simd>(simd: S, block: &[u8], group: usize) -> u8x32<S> {
        // The low four bits: the lower halves of 64 bytes, then their upper halves. The high two bits: 32 bytes hold
        // those of four groups.
        let low = u8x32::from_slice(simd, at::<32>(block, group / 4 * 64 + group % 2 * 32));
        let high = u8x32::from_slice(simd, at::<32>(block, 128 + group / 4 * 32));
        let low = if group % 4 < 2 { low & 0xF } else { low >> 4 };
        low | moved(high, group % 4 * 2, 2, 4)
    }
}
