//! `IQ3_S`: indices of nine bits for four numbers, and a sign for each. Each 32 entries have an odd scale of five bits,
//! times an f16 for all 256.
use super::{Groups, grids, half, next, signed};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    let (low, high) = (next::<64>(&mut block), next::<8>(&mut block));
    let (signs, scales) = (next::<32>(&mut block), next::<4>(&mut block));
    for (i, group) in groups.iter_mut().enumerate() {
        let scale = scales[i / 2] >> (4 * (i % 2)) & 15;
        group.scales = [all * f32::from(2 * scale + 1); 2];
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let index = usize::from(low[8 * i + j]) | usize::from(high[i] >> j & 1) << 8;
            *codes = signed(grids::IQ3_S[index], signs[4 * i + j / 2] >> (4 * (j % 2)));
        }
    }
}
