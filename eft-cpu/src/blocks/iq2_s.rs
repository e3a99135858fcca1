//! `IQ2_S`: indices of ten bits for eight numbers, and their eight signs. Each 16 entries have an odd scale of five bits,
//! times an eighth of an f16 for all 256.
use fearless_simd::Simd;

use super::iq2_xs::set_odd_scales;
use super::{Block, Column, Dot, Unpacked, byte, grids};

pub(crate) struct IQ2S;

impl Block for IQ2S {
    const GROUPS: usize = 8;
    const BYTES: usize = 82;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = u8::MAX;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        // After the lower eight bits of the indices and the signs, the upper two bits, then the scales.
        let [high, high_last, first, last] = column.words::<S, D>(simd, Self::BYTES - 16);
        set_odd_scales::<S, D, LANES>(D::f16_lanes(simd, all), [first, last], groups);
        for (i, groups) in groups.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let low = column.words::<S, D>(simd, 2 + 16 * i);
            let signs = column.sixteens::<S, D>(simd, 34 + 16 * i);
            let high = [high, high_last][i];
            for (j, group) in groups.iter_mut().enumerate() {
                let mut indices = [low[j]; 4];
                for (k, index) in indices.iter_mut().enumerate() {
                    let two = (high >> (8 * j + 2 * k) as u32) & 3;
                    *index = byte::<S, D>(*index, k) | (two << 8);
                }
                group.set_eights::<S, D, _>(simd, &grids::IQ2_S, indices, signs[j]);
            }
        }
    }
}
