//! `Q5_K`: codes of five bits. Each 32 entries have a scale and an offset of six bits each, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::Simd;

use super::{Column, Dot, SuperBlock, Unpacked, moved, unpack_six_bits};

pub(crate) struct Q5K;

impl SuperBlock for Q5K {
    const BYTES: usize = 176;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 31;
    const CODES: Range<usize> = 16..176;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        // The lower four bits: the lower halves of 32 bytes, then their upper halves. The fifth: a bit of 32 bytes for
        // each group.
        let (high, low) = (part(16), part(48 + group / 2 * 32));
        let low = if group.is_multiple_of(2) { low & 0xF } else { low >> 4 };
        low | moved::<S, D>(high, group, 1, 4)
    }

    #[inline(always)]
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        unpack_six_bits::<S, D, LANES, BYTES>(simd, column, groups);
    }
}
