//! `Q8_0`: signed codes of eight bits, times a scale.
use fearless_simd::{Simd, SimdBase, u8x32};

use super::{Dot, Offset, SmallBlock, at};

pub(crate) struct Q8_0;

impl SmallBlock for Q8_0 {
    const BYTES: usize = 34;
    const LARGEST: u8 = 255;
    const OFFSET: Offset = Offset::Signed;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        u8x32::from_slice(simd, at::<32>(block, 2))
    }
}
