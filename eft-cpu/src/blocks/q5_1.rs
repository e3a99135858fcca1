//! `Q5_1`: codes of five bits, times a scale, plus an offset.
use fearless_simd::{Simd, u8x32};

use super::{Dot, Offset, SmallBlock, at, nibbles};

pub(crate) struct Q5_1;

impl SmallBlock for Q5_1 {
    const BYTES: usize = 24;
    const LARGEST: u8 = 31;
    const OFFSET: Offset = Offset::Stored;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        nibbles(simd, at::<16>(block, 8)) | D::fifth_bits(simd, *at::<4>(block, 4))
    }
}
