//! `MXFP4`: floating-point numbers of four bits (a sign, two bits of the exponent, one of the mantissa), times a power of
//! two: Open Compute Project, Microscaling Formats 1.0, section 5.
use fearless_simd::{Simd, SimdBase};

use super::{Block, Column, Dot, Unpacked};

pub(crate) struct MXFP4;

/// Twice the numbers of four bits.
const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half of the power of two with this exponent, which is stored plus 127. The least ones are not normalised numbers.
#[inline(always)]
fn half_power(exponent: u8) -> f32 {
    let exponent = u32::from(exponent);
    f32::from_bits(if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 })
}

impl Block for MXFP4 {
    const GROUPS: usize = 1;
    const BYTES: usize = 17;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let scales = column.first_bytes().map(half_power);
        groups[0].set_signed::<S, D>(0, D::Floats::from_slice(simd, &scales));
        groups[0].set_from_table::<S, D>(simd, DOUBLED, column.sixteens::<S, D>(simd, 1));
    }
}
