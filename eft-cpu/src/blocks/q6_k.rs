//! `Q6_K`: codes of six bits, minus 32. Each 16 entries have a signed scale of eight bits, times an f16 for all 256.
use std::ops::Range;

use fearless_simd::{Simd, SimdInt};

use super::{Column, Dot, SuperBlock, Unpacked, moved};

pub(crate) struct Q6K;

impl SuperBlock for Q6K {
    const BYTES: usize = 210;
    const HALF_SCALES: bool = true;
    const LARGEST: u8 = 63;
    const CODES: Range<usize> = 0..192;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes {
        // The low four bits: the lower halves of 64 bytes, then their upper halves. The high two bits: 32 bytes hold
        // those of four groups.
        let low = part(group / 4 * 64 + group % 2 * 32);
        let high = part(128 + group / 4 * 32);
        let low = if group % 4 < 2 { low & 0xF } else { low >> 4 };
        low | moved::<S, D>(high, group % 4 * 2, 2, 4)
    }

    #[inline(always)]
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let scales = column.words::<S, D>(simd, 192);
        let scale = D::f16_lanes(simd, column.words::<S, D>(simd, Self::BYTES - 16)[3] >> 16);
        let offset = scale * -32.0;
        for (i, group) in groups.iter_mut().enumerate() {
            for half in 0..2 {
                let byte = (2 * i + half) % 4;
                let scales = ((scales[i / 2] << (24 - 8 * byte as u32)) >> 24).to_float::<D::Floats>();
                group.set::<S, D>(half, scales * scale, scales * offset);
            }
        }
    }
}
