//! `IQ2_XS`: indices of nine bits for eight numbers, and of seven bits for their signs. Each 16 entries have an odd scale
//! of five bits, times an eighth of an f16 for all 256.
use super::{Groups, even_signs, grids, half, next, signed, u16_at};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let all = half(*next(&mut block));
    let (indices, scales) = (next::<64>(&mut block), next::<8>(&mut block));
    for (i, group) in groups.iter_mut().enumerate() {
        group.scales = odd_scales(all, scales[i]);
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let bits = u16_at(indices, 4 * i + j);
            *codes = signed(grids::IQ2_XS[usize::from(bits & 511)], even_signs((bits >> 9).into()));
        }
    }
}

/// The scales of two halves, of which a byte holds all but the lowest bit.
pub(super) fn odd_scales(all: f32, byte: u8) -> [f32; 2] {
    [byte & 15, byte >> 4].map(|scale| all * f32::from(2 * scale + 1) / 8.0)
}
