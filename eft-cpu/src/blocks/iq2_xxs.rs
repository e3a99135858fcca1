//! `IQ2_XXS`: indices of eight bits for eight numbers, and of seven bits for their signs. Each 32 entries have an odd
//! scale of five bits, times an eighth of an f16 for all 256.
use fearless_simd::Simd;

use super::signs::{bytes_of_indices, even_signs};
use super::{Block, Column, Dot, Unpacked, byte, grids, odd};

pub(crate) struct IQ2XXS;

impl Block for IQ2XXS {
    const GROUPS: usize = 8;
    const BYTES: usize = 66;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = u8::MAX;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        let scale = D::f16_lanes(simd, all) * 0.125;
        for (i, groups) in groups.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let [a, a_bits, b, b_bits] = column.words::<S, D>(simd, 2 + 16 * i);
            for (group, [indices, bits]) in groups.iter_mut().zip([[a, a_bits], [b, b_bits]]) {
                group.set_signed::<S, D>(0, odd::<S, D>((bits >> 28) & 15) * scale);
                let signs = even_signs::<S, D>(simd, bytes_of_indices::<S, D>(bits));
                let mut eights = [indices; 4];
                for (i, index) in eights.iter_mut().enumerate() {
                    *index = byte::<S, D>(indices, i);
                }
                group.set_eights::<S, D, _>(simd, &grids::IQ2_XXS, eights, signs);
            }
        }
    }
}
