//! `Q3_K`: codes of three bits, minus 4. Each 16 entries have a scale of six bits, minus 32, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::{Simd, SimdInt};

use super::{Column, Dot, SuperBlock, Unpacked, moved};

pub(crate) struct Q3K;

impl SuperBlock for Q3K {
    const BYTES: usize = 110;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 7;
    const CODES: Range<usize> = 0..96;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        let (high, low) = (part(0), part(32 + group / 4 * 32));
        moved::<S, D>(low, group % 4 * 2, 2, 0) | moved::<S, D>(high, group, 1, 2)
    }

    #[inline(always)]
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        // The last 16 bytes of a block: the last two of its codes, then the scales.
        let [a, b, c, d] = column.words::<S, D>(simd, Self::BYTES - 16);
        let low = [((a >> 16) & 0xFFFF) | (b << 16), ((b >> 16) & 0xFFFF) | (c << 16)];
        let high = ((c >> 16) & 0xFFFF) | (d << 16);
        let scale = D::f16_lanes(simd, d >> 16);
        let offset = scale * -4.0;
        for (i, group) in groups.iter_mut().enumerate() {
            for half in 0..2 {
                let at = 2 * i + half;
                let four = (low[at / 4 % 2] >> (8 * (at % 4) + at / 8 * 4) as u32) & 15;
                let two = (high >> (8 * (at % 4) + at / 4 * 2) as u32) & 3;
                let scales = ((four | (two << 4)) - 32).to_float::<D::Floats>();
                group.set::<S, D>(half, scales * scale, scales * offset);
            }
        }
    }
}
