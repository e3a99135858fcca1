//! `TQ1_0`: numbers of −1, 0 and 1, of which a byte holds five as digits of base three, times an f16 for all 256.
use super::{Groups, half, next};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let (most, last) = (next::<48>(&mut block), next::<4>(&mut block));
    let all = half(*next(&mut block));
    // The first digits of some bytes, then their second digits, and so on: of 32 bytes, of 16, and four of four.
    let runs = [(&most[..32], 5), (&most[32..], 5), (&last[..], 4)];
    let digits = runs.into_iter().flat_map(|(bytes, count)| {
        (0..count).flat_map(move |place| bytes.iter().map(move |byte| digit(*byte, place)))
    });
    for (code, digit) in groups.iter_mut().flat_map(|group| &mut group.codes).zip(digits) {
        *code = digit - 1;
    }
    groups.iter_mut().for_each(|group| group.scales = [all; 2]);
}

/// A digit of base three. The byte is the number of five digits as a fraction of 243 digits, in units of 1/256.
fn digit(byte: u8, place: u32) -> i8 {
    ((u16::from(byte.wrapping_mul(3u8.pow(place))) * 3) >> 8) as i8
}
