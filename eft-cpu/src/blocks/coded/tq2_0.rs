//! `TQ2_0`: numbers of two bits, minus 1, times an f16 for all 256.
use super::{Groups, half, next};

pub(super) fn unpack(mut block: &[u8], groups: &mut Groups) {
    let bytes = next::<64>(&mut block);
    let all = half(*next(&mut block));
    for (i, group) in groups.iter_mut().enumerate() {
        group.scales = [all; 2];
        for (code, byte) in group.codes.iter_mut().zip(&bytes[i / 4 * 32..]) {
            *code = (byte >> (2 * (i % 4)) & 3) as i8 - 1;
        }
    }
}
