//! `IQ2_XS`: indices of nine bits for eight numbers, and of seven bits for their signs. Each 16 entries have an odd scale
//! of five bits, times an eighth of an f16 for all 256.
use fearless_simd::Simd;

use super::signs::even_signs;
use super::{Block, Column, Dot, Unpacked, grids, odd};

pub(crate) struct IQ2XS;

impl Block for IQ2XS {
    const GROUPS: usize = 8;
    const BYTES: usize = 74;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = u8::MAX;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [all, ..] = column.words::<S, D>(simd, 0);
        let [.., first, last] = column.words::<S, D>(simd, Self::BYTES - 16);
        set_odd_scales::<S, D, LANES>(D::f16_lanes(simd, all), [first, last], groups);
        for (i, groups) in groups.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let [a, a_last, b, b_last] = column.words::<S, D>(simd, 2 + 16 * i);
            for (group, [first, last]) in groups.iter_mut().zip([[a, a_last], [b, b_last]]) {
                let signs = ((first >> 9) & 0x7F)
                    | ((first >> 17) & 0x7F00)
                    | ((last << 7) & 0x7F_0000)
                    | ((last >> 1) & 0x7F00_0000);
                let signs = even_signs::<S, D>(simd, signs);
                let indices = [first & 511, (first >> 16) & 511, last & 511, (last >> 16) & 511];
                group.set_eights::<S, D, _>(simd, &grids::IQ2_XS, indices, signs);
            }
        }
    }
}

/// Sets the scales of the halves of all groups, of which eight bytes, one for each group, hold all but the lowest bit.
#[inline(always)]
pub(super) fn set_odd_scales<S: Simd, D: Dot<S>, const LANES: usize>(
    all: D::Floats,
    bytes: [D::Sums; 2],
    groups: &mut [Unpacked<LANES>],
) {
    let scale = all * 0.125;
    for (i, group) in groups.iter_mut().enumerate() {
        for half in 0..2 {
            let scales = (bytes[i / 4] >> (8 * (i % 4) + 4 * half) as u32) & 15;
            group.set_signed::<S, D>(half, odd::<S, D>(scales) * scale);
        }
    }
}
