//! `Q5_0`: codes of five bits, minus 16, times a scale.
use fearless_simd::{Simd, u8x32};

use super::{Dot, Offset, SmallBlock, at, nibbles};

pub(crate) struct Q5_0;

impl SmallBlock for Q5_0 {
    const BYTES: usize = 22;
    const LARGEST: u8 = 31;
    const OFFSET: Offset = Offset::Minus(4);

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        nibbles(simd, at::<16>(block, 6)) | D::fifth_bits(simd, *at::<4>(block, 2))
    }
}
