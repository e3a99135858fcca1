//! `TQ2_0`: numbers of two bits, minus 1, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::Simd;

use super::{Column, Dot, SuperBlock, Unpacked, moved};

pub(crate) struct TQ2_0;

impl SuperBlock for TQ2_0 {
    const BYTES: usize = 66;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 3;
    const CODES: Range<usize> = 0..64;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        moved::<S, D>(part(group / 4 * 32), group % 4 * 2, 2, 0)
    }

    #[inline(always)]
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [.., last] = column.words::<S, D>(simd, Self::BYTES - 16);
        let scale = D::f16_lanes(simd, last >> 16);
        for group in groups {
            group.set::<S, D>(0, scale, scale * -1.0);
        }
    }
}
