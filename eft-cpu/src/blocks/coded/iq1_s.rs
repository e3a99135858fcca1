//! `IQ1_S`: indices of 11 bits for eight numbers of −1, 0 and 1. Each 32 entries have an offset of an eighth, up or down,
//! and an odd scale of four bits, times an f16 for all 256.
use super::{Groups, grids, half, next, u16_at};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    let (low, high) = (next::<32>(&mut block), next::<16>(&mut block));
    for (i, group) in groups.iter_mut().enumerate() {
        let bits = u16_at(high, i);
        group.scales = [all * f32::from(2 * (bits >> 12 & 7) + 1) / 8.0; 2];
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let index = usize::from(low[4 * i + j]) | usize::from(bits >> (3 * j) & 7) << 8;
            *codes = shifted(index, bits >> 15 != 0);
        }
    }
}

/// Eight times the numbers of an index, each with the offset.
pub(super) fn shifted(index: usize, down: bool) -> [i8; 8] {
    grids::IQ1[index].map(|number| 8 * number + if down { -1 } else { 1 })
}
