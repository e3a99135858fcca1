//! `IQ2_XXS`: indices of eight bits for eight numbers, and of seven bits for their signs. Each 32 entries have an odd
//! scale of five bits, times an eighth of an f16 for all 256.
use super::{Groups, even_signs, grids, half, next, signed};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    for group in groups {
        let indices = next::<4>(&mut block);
        let bits = u32::from_le_bytes(*next(&mut block));
        group.scales = [all * (2 * (bits >> 28) + 1) as f32 / 8.0; 2];
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            *codes = signed(grids::IQ2_XXS[usize::from(indices[j])], even_signs(bits >> (7 * j)));
        }
    }
}
