//! `Q4_1`: codes of four bits, times a scale, plus an offset.
use fearless_simd::{Simd, u8x32};

use super::{Dot, Offset, SmallBlock, at, nibbles};

pub(crate) struct Q4_1;

impl SmallBlock for Q4_1 {
    const BYTES: usize = 20;
    const LARGEST: u8 = 15;
    const OFFSET: Offset = Offset::Stored;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        nibbles(simd, at::<16>(block, 4))
    }
}
