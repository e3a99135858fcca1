//! `Q4_K`: codes of four bits. Each 32 entries have a scale and an offset of six bits each, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::Simd;

use super::{Column, Dot, SuperBlock, Unpacked, unpack_six_bits};

pub(crate) struct Q4K;

impl SuperBlock for Q4K {
    const BYTES: usize = 144;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 15;
    const CODES: Range<usize> = 16..144;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        // The lower halves of 32 bytes, then their upper halves.
        let bytes = part(16 + group / 2 * 32);
        if group.is_multiple_of(2) { bytes & 0xF } else { bytes >> 4 }
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
