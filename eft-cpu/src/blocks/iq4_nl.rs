//! `IQ4_NL`: codes of four bits that stand for the numbers of a table, times a scale.
use fearless_simd::Simd;

use super::{Block, Column, Dot, Unpacked};

pub(crate) struct IQ4NL;

/// The numbers that the codes stand for. They lie closer around zero, where most weights are.
pub(super) const VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Block for IQ4NL {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALF_SCALES: bool = false;
    const LARGEST: u8 = 255;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        let scales = D::f16_lanes(simd, column.words::<S, D>(simd, 0)[0]);
        groups[0].set_signed::<S, D>(0, scales);
        groups[0].set_from_table::<S, D>(simd, VALUES, column.sixteens::<S, D>(simd, 2));
    }
}
