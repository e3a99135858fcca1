//! `IQ3_XXS`: indices of eight bits for four numbers, and of seven bits for the signs of eight. Each 32 entries have an
//! odd scale of five bits, times a fourth of an f16 for all 256.
use fearless_simd::Simd;

use super::signs::{bytes_of_indices, even_signs};
use super::{Block, Column, Dot, Unpacked, byte, grids, odd};

pub(crate) struct IQ3XXS;

impl Block for IQ3XXS {
    const GROUPS: usize = 8;
    const BYTES: usize = 98;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = u8::MAX;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        let scale = D::f16_lanes(simd, all) * 0.25;
        for (i, groups) in groups.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let bits = column.words::<S, D>(simd, 66 + 16 * i);
            for (j, groups) in groups.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let [a, a_last, b, b_last] = column.words::<S, D>(simd, 2 + 32 * i + 16 * j);
                for (k, (group, low)) in groups.iter_mut().zip([[a, a_last], [b, b_last]]).enumerate() {
                    let bits = bits[2 * j + k];
                    group.set_signed::<S, D>(0, odd::<S, D>((bits >> 28) & 15) * scale);
                    let signs = even_signs::<S, D>(simd, bytes_of_indices::<S, D>(bits));
                    let mut indices = [low[0]; 8];
                    for (four, index) in indices.iter_mut().enumerate() {
                        *index = byte::<S, D>(low[four / 4], four % 4);
                    }
                    group.set_fours::<S, D, _>(simd, &grids::IQ3_XXS, indices, signs);
                }
            }
        }
    }
}
