//! `IQ4_NL`: codes of four bits that stand for the numbers of a table, times a scale.
use fearless_simd::Simd;

use super::{Block, Dot, Group, looked_up, nibbles, scale, take};

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
    fn unpack<S: Simd, D: Dot<S>>(simd: S, mut block: &[u8], output: usize, groups: &mut [Group]) {
        let scale = scale::<S, D>(simd, &mut block);
        let codes = looked_up(simd, VALUES, nibbles(simd, take(&mut block)));
        groups[0].signed::<S, D>(output, scale, codes);
    }
}
