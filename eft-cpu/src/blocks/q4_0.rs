//! `Q4_0`: codes of four bits, minus 8, times a scale.
use fearless_simd::{Simd, u8x32};

use super::{Dot, Offset, SmallBlock, at, nibbles};

pub(crate) struct Q4_0;

impl SmallBlock for Q4_0 {
    const BYTES: usize = 18;
    const LARGEST: u8 = 15;
    const OFFSET: Offset = Offset::Minus(3);

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        nibbles(simd, at::<16>(block, 2))
    }
}
