//! `IQ4_XS`: codes of four bits that stand for the numbers of a table. Each 32 entries have a scale of six bits, minus
//! 32, times an f16 for all 256.
use fearless_simd::{Simd, SimdInt};

use super::iq4_nl::VALUES;
use super::{Block, Column, Dot, Unpacked};

pub(crate) struct IQ4XS;

impl Block for IQ4XS {
    const GROUPS: usize = 8;
    const BYTES: usize = 136;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        // The f16 and the upper two bits of eight scales, then the lower four.
        let [all, low, ..] = column.words::<S, D>(simd, 0);
        let scale = D::f16_lanes(simd, all);
        for (i, group) in groups.iter_mut().enumerate() {
            let scales = ((low >> (4 * i) as u32) & 15) | (((all >> (16 + 2 * i) as u32) & 3) << 4);
            group.set_signed::<S, D>(0, (scales - 32).to_float::<D::Floats>() * scale);
            group.set_from_table::<S, D>(simd, VALUES, column.sixteens::<S, D>(simd, 8 + 16 * i));
        }
    }
}
