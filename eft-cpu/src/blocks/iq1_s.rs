//! `IQ1_S`: indices of 11 bits for eight numbers of −1, 0 and 1. Each 32 entries have an offset of an eighth, up or down,
//! and an odd scale of four bits, times an f16 for all 256.
use fearless_simd::{Simd, SimdInt};

use super::{Block, Column, Dot, Unpacked, byte, grids, odd};

pub(crate) struct IQ1S;

impl Block for IQ1S {
    const GROUPS: usize = 8;
    const BYTES: usize = 50;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 2;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        let scale = D::f16_lanes(simd, all);
        // After the lower eight bits of the indices, 16 bits for each group.
        let bits = column.words::<S, D>(simd, Self::BYTES - 16);
        for (i, groups) in groups.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let low = column.words::<S, D>(simd, 2 + 16 * i);
            for (j, group) in groups.iter_mut().enumerate() {
                let bits = bits[2 * i + j / 2] >> (16 * (j % 2)) as u32;
                let scales = odd::<S, D>((bits >> 12) & 7) * scale;
                // The codes are 1 too large. With the offset that is 7/8 or 9/8.
                let offsets = (((bits >> 15) & 1) * -2 - 7).to_float::<D::Floats>() * 0.125;
                group.set::<S, D>(0, scales, scales * offsets);
                for k in 0..4 {
                    let high = (bits >> (3 * k) as u32) & 7;
                    let index = byte::<S, D>(low[j], k) | (high << 8);
                    let [first, last] = D::eights(simd, &grids::IQ1, index);
                    group.set_codes::<S, D>(2 * k, first);
                    group.set_codes::<S, D>(2 * k + 1, last);
                }
            }
        }
    }
}
