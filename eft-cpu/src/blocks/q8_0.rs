//! `Q8_0`: signed codes of eight bits, times a scale.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Block, Dot, Group, scale, take};

pub(crate) struct Q8_0;

impl Block for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let scale = scale::<S, D>(simd, &mut block);
        let codes = u8x32::from_slice(simd, take::<32>(&mut block));
        groups[0].signed::<S, D>(output, scale, codes);
    }
}
