//! `IQ1_M`: indices of 11 bits for eight numbers of −1, 0 and 1, each with an offset of an eighth, up or down. Each 16
//! entries have an odd scale of four bits, times an f16 for all 256, whose bits are spread over the scales.
use fearless_simd::{Bytes, Simd};

use super::{Block, Column, Dot, Unpacked, byte, grids, odd};

pub(crate) struct IQ1M;

impl Block for IQ1M {
    const GROUPS: usize = 8;
    const BYTES: usize = 56;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 18;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        // After the lower eight bits of the indices, four bits for each eight entries, then 16 bits for each 64.
        let high = column.words::<S, D>(simd, 32);
        let [.., first, last] = column.words::<S, D>(simd, Self::BYTES - 16);
        let all =
            ((first >> 12) & 15) | ((first >> 24) & 0xF0) | ((last >> 4) & 0xF00) | ((last >> 16) & 0xF000);
        let scale = D::f16_lanes(simd, all) * 0.125;
        for (i, groups) in groups.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let low = column.words::<S, D>(simd, 16 * i);
            for (j, group) in groups.iter_mut().enumerate() {
                for half in 0..2 {
                    let scales = [first, last][i] >> (16 * (j / 2) + 6 * (j % 2) + 3 * half) as u32;
                    let scales = odd::<S, D>(scales & 7) * scale;
                    // Codes are eight times the numbers plus the offset, in eighths, and 9 too large.
                    group.set::<S, D>(half, scales, scales * -9.0);
                }
                let high = high[2 * i + j / 2] >> (16 * (j % 2)) as u32;
                for k in 0..4 {
                    let bits = high >> (4 * k) as u32;
                    let index = byte::<S, D>(low[j], k) | ((bits & 7) << 8);
                    // 2 unless the offset is down.
                    let up: D::Codes = ((((bits >> 3) & 1) ^ 1) * 0x0202_0202).bitcast();
                    for (half, codes) in D::eights(simd, &grids::IQ1, index).into_iter().enumerate() {
                        group.set_codes::<S, D>(2 * k + half, (codes << 3) + up);
                    }
                }
            }
        }
    }
}
