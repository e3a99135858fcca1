//! `IQ4_NL`: codes of four bits that stand for the numbers of a table, times a scale.
use fearless_simd::{Simd, u8x32};

use super::{Dot, Offset, SmallBlock, at, looked_up, nibbles};

pub(crate) struct IQ4NL;

/// The numbers that the codes stand for. They lie closer around zero, where most weights are.
pub(super) const VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl SmallBlock for IQ4NL {
    const BYTES: usize = 18;
    const LARGEST: u8 = 255;
    const OFFSET: Offset = Offset::Signed;

    #[inline(always)]
    fn codes<S: Simd, D: Dot<S>>(simd: S, block: &[u8]) -> u8x32<S> {
        looked_up(simd, VALUES, nibbles(simd, at::<16>(block, 2)))
    }
}
