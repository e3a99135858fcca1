//! `Q4_0`: codes of four bits, minus 8, times a scale.
use fearless_simd::{Simd, SimdBase};

use super::{Block, Dot, Group, nibbles, scale, take};

pub(crate) struct Q4_0;

impl Block for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 15;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let scale = scale::<S, D>(simd, &mut block);
        groups[0].scale(output, scale, -8.0 * scale);
        nibbles(simd, take(&mut block)).store_slice(&mut groups[0].codes[output]);
    }
}
