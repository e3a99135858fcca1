//! `IQ1_M`: indices of 11 bits for eight numbers of −1, 0 and 1, each with an offset of an eighth, up or down. Each 16
//! entries have an odd scale of four bits, times an f16 for all 256, whose bits are spread over the scales.
use super::iq1_s::shifted;
use super::{Groups, half, next, u16_at};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let (low, high) = (next::<32>(&mut block), next::<16>(&mut block));
    let scales: [u16; 4] = std::array::from_fn(|i| u16_at(block, i));
    let all = scales.iter().rev().fold(0, |bits, scale| bits << 4 | scale >> 12);
    let all = half(u16::to_le_bytes(all));
    for (i, group) in groups.iter_mut().enumerate() {
        let scale = |half: usize| scales[i / 2] >> (6 * (i % 2) + 3 * half) & 7;
        group.scales = [0, 1].map(|half| all * f32::from(2 * scale(half) + 1) / 8.0);
        for (j, codes) in group.codes.as_chunks_mut().0.iter_mut().enumerate() {
            let bits = high[2 * i + j / 2] >> (4 * (j % 2));
            let index = usize::from(low[4 * i + j]) | usize::from(bits & 7) << 8;
            *codes = shifted(index, bits & 8 != 0);
        }
    }
}
