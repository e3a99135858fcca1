//! `Q5_1`: codes of five bits, times a scale, plus an offset.
use fearless_simd::{Simd, SimdBase};

use super::{Block, Dot, Group, nibbles, scale, take};

pub(crate) struct Q5_1;

impl Block for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 31;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let (scale, offset) = (scale::<S, D>(simd, &mut block), scale::<S, D>(simd, &mut block));
        groups[0].scale(output, scale, offset);
        let high = D::fifth_bits(simd, *take(&mut block));
        (nibbles(simd, take(&mut block)) | high).store_slice(&mut groups[0].codes[output]);
    }
}
