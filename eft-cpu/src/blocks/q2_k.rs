//! `Q2_K`: codes of two bits. Each 16 entries have a scale and an offset of four bits each, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::{Simd, SimdInt};

use super::{Column, Dot, SuperBlock, Unpacked, moved};

pub(crate) struct Q2K;

impl SuperBlock for Q2K {
    const BYTES: usize = 84;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 3;
    const CODES: Range<usize> = 16..80;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        moved::<S, D>(part(16 + group / 4 * 32), group % 4 * 2, 2, 0)
    }

    #[inline(always)]
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let bytes = column.words::<S, D>(simd, 0);
        let all = column.words::<S, D>(simd, Self::BYTES - 16)[3];
        let (scale, offset) = (D::f16_lanes(simd, all), D::f16_lanes(simd, all >> 16) * -1.0);
        for (i, group) in groups.iter_mut().enumerate() {
            for half in 0..2 {
                let bytes = bytes[i / 2] >> (8 * ((2 * i + half) % 4)) as u32;
                let (scales, offsets) =
                    ((bytes & 15).to_float::<D::Floats>(), ((bytes >> 4) & 15).to_float::<D::Floats>());
                group.set::<S, D>(half, scales * scale, offset * offsets);
            }
        }
    }
}
