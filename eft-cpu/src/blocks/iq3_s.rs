//! `IQ3_S`: indices of nine bits for four numbers, and a sign for each. Each 32 entries have an odd scale of five bits,
//! times an f16 for all 256.
use fearless_simd::{Bytes, Simd};

use super::{Block, Column, Dot, Unpacked, byte, grids, odd};

pub(crate) struct IQ3S;

impl Block for IQ3S {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = u8::MAX;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        let scale = D::f16_lanes(simd, all);
        // After the lower eight bits of the indices, the upper ones, then the signs of each group, then the scales.
        let [high, high_last, of_0, of_1] = column.words::<S, D>(simd, 66);
        let [of_2, of_3, of_4, of_5] = column.words::<S, D>(simd, 82);
        let [_, of_6, of_7, scales] = column.words::<S, D>(simd, Self::BYTES - 16);
        let (signs, high) = ([of_0, of_1, of_2, of_3, of_4, of_5, of_6, of_7], [high, high_last]);
        for (i, groups) in groups.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let [a, a_last, b, b_last] = column.words::<S, D>(simd, 2 + 16 * i);
            for (j, (group, low)) in groups.iter_mut().zip([[a, a_last], [b, b_last]]).enumerate() {
                let at = 2 * i + j;
                group.set_signed::<S, D>(0, odd::<S, D>((scales >> (4 * at) as u32) & 15) * scale);
                let mut indices = [low[0]; 8];
                for (four, index) in indices.iter_mut().enumerate() {
                    let upper = (high[at / 4] >> (8 * (at % 4) + four) as u32) & 1;
                    *index = byte::<S, D>(low[four / 4], four % 4) | (upper << 8);
                }
                group.set_fours::<S, D, _>(simd, &grids::IQ3_S, indices, signs[at].bitcast());
            }
        }
    }
}
