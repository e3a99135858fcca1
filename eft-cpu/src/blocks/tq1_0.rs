//! `TQ1_0`: numbers of −1, 0 and 1, of which a byte holds five as digits of base three, times an f16 for all 256.
use fearless_simd::{Bytes, Select, Simd, SimdBase, SimdFrom};

use super::{Block, Column, Dot, Unpacked};

pub(crate) struct TQ1_0;

impl Block for TQ1_0 {
    const GROUPS: usize = 8;
    const BYTES: usize = 54;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 2;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let [.., most, last] = column.words::<S, D>(simd, Self::BYTES - 16);
        let scale = D::f16_lanes(simd, last >> 16);
        for group in groups.iter_mut() {
            group.set::<S, D>(0, scale, scale * -1.0);
        }
        // The first digits of 32 bytes, then their second digits, and so on.
        for part in 0..2 {
            let mut bytes = column.sixteens::<S, D>(simd, 16 * part);
            for group in &mut groups[..5] {
                for (four, bytes) in bytes.iter_mut().enumerate() {
                    group.set_codes::<S, D>(4 * part + four, next_digit::<S, D>(simd, bytes));
                }
            }
        }
        // Then those of 16 bytes, and four digits of four.
        let mut bytes = column.sixteens::<S, D>(simd, 32);
        let mut four_bytes: D::Codes = (((most >> 16) & 0xFFFF) | (last << 16)).bitcast();
        for half in 0..6 {
            for (four, bytes) in bytes.iter_mut().enumerate() {
                let bytes = if half < 5 { bytes } else { &mut four_bytes };
                groups[5 + half / 2].set_codes::<S, D>(half % 2 * 4 + four, next_digit::<S, D>(simd, bytes));
            }
        }
    }
}

/// The first digit of each byte, which is the number of all digits as a fraction of 243, in units of 1/256. Leaves the other digits.
#[inline(always)]
fn next_digit<S: Simd, D: Dot<S>>(simd: S, bytes: &mut D::Codes) -> D::Codes {
    let (zero, one) = (D::Codes::simd_from(simd, 0), D::Codes::simd_from(simd, 1));
    let at_least = |least: u8| bytes.simd_ge(D::Codes::simd_from(simd, least)).select(one, zero);
    let digit = at_least(86) + at_least(171);
    *bytes = *bytes + *bytes + *bytes;
    digit
}
