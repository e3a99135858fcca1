//! `IQ3_S`: indices of nine bits for four numbers, and a sign for each. Each 32 entries have an odd scale of five bits,
//! times an f16 for all 256.
use fearless_simd::{Bytes, Simd, SimdInt};

use super::{Block, Column, Dot, Unpacked, grids};

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
        let [high, high_last, a, b] = column.words::<S, D>(simd, 66);
        let [c, d, e, f] = column.words::<S, D>(simd, 82);
        let [_, g, h, scales] = column.words::<S, D>(simd, Self::BYTES - 16);
        let (signs, high) = ([a, b, c, d, e, f, g, h], [high, high_last]);
        for (i, groups) in groups.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let [a, a_last, b, b_last] = column.words::<S, D>(simd, 2 + 16 * i);
            for (j, (group, low)) in groups.iter_mut().zip([[a, a_last], [b, b_last]]).enumerate() {
                let at = 2 * i + j;
                let scales = (((scales >> (4 * at) as u32) & 15) << 1) + 1;
                group.set_signed::<S, D>(0, scales.to_float::<D::Floats>() * scale);
                let mut indices = [low[0]; 8];
                for (four, index) in indices.iter_mut().enumerate() {
                    let upper = (high[at / 4] >> (8 * (at % 4) + four) as u32) & 1;
                    *index = ((low[four / 4] >> (8 * (four % 4)) as u32) & 255) | (upper << 8);
                }
                group.set_fours::<S, D>(simd, &grids::IQ3_S, indices, signs[at].bitcast());
            }
        }
    }
}
