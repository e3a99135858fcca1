//! `Q4_1`: codes of four bits, times a scale, plus an offset.
use fearless_simd::{Simd, SimdBase};

use super::{Block, Dot, Group, nibbles, scale, take};

pub(crate) struct Q4_1;

impl Block for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 15;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let (scale, offset) = (scale::<S, D>(simd, &mut block), scale::<S, D>(simd, &mut block));
        groups[0].scale(output, scale, offset);
        nibbles(simd, take(&mut block)).store_slice(&mut groups[0].codes[output]);
    }
}
