//! `Q5_0`: codes of five bits, minus 16, times a scale.
use fearless_simd::{Simd, SimdBase};

use super::{Block, Dot, Group, nibbles, scale, take};

pub(crate) struct Q5_0;

impl Block for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 31;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let scale = scale::<S, D>(simd, &mut block);
        groups[0].scale(output, scale, -16.0 * scale);
        let high = D::fifth_bits(simd, *take(&mut block));
        (nibbles(simd, take(&mut block)) | high).store_slice(&mut groups[0].codes[output]);
    }
}
