//! `IQ3_XXS`: indices of eight bits for four numbers, and of seven bits for the signs of eight. Each 32 entries have an
//! odd scale of five bits, times a fourth of an f16 for all 256.
use super::{Groups, even_signs, grids, half, next, signed};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    let (indices, bits) = (next::<64>(&mut block), next::<32>(&mut block));
    for ((i, group), bits) in groups.iter_mut().enumerate().zip(bits.as_chunks().0) {
        let bits = u32::from_le_bytes(*bits);
        group.scales = [all * (2 * (bits >> 28) + 1) as f32 / 4.0; 2];
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let signs = even_signs(bits >> (7 * (j / 2))) >> (4 * (j % 2));
            *codes = signed(grids::IQ3_XXS[usize::from(indices[8 * i + j])], signs);
        }
    }
}
