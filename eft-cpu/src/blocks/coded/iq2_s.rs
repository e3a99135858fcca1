//! `IQ2_S`: indices of ten bits for eight numbers, and their eight signs. Each 16 entries have an odd scale of five bits,
//! times an eighth of an f16 for all 256.
use super::iq2_xs::odd_scales;
use super::{Groups, grids, half, next, signed};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    let (low, signs) = (next::<32>(&mut block), next::<32>(&mut block));
    let (high, scales) = (next::<8>(&mut block), next::<8>(&mut block));
    for (i, group) in groups.iter_mut().enumerate() {
        group.scales = odd_scales(all, scales[i]);
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let index = usize::from(low[4 * i + j]) | usize::from(high[i] >> (2 * j) & 3) << 8;
            *codes = signed(grids::IQ2_S[index], signs[4 * i + j]);
        }
    }
}
