//! The signs of codes that are looked up in tables: a bit for each column, which is set if the code is negated.
use fearless_simd::{Bytes, Simd, SimdBase};

use super::Dot;
use crate::level::BLOCKS;

/// The lowest four times seven bits of each lane, seven in each byte.
#[inline(always)]
pub(super) fn bytes_of_indices<S: Simd, D: Dot<S>>(bits: D::Sums) -> D::Sums {
    (bits & 0x7F) | ((bits << 1) & 0x7F00) | ((bits << 2) & 0x7F_0000) | ((bits << 3) & 0x7F00_0000)
}

/// The signs of eight columns from seven bits, in each byte: the number of set bits is even.
#[inline(always)]
pub(super) fn even_signs<S: Simd, D: Dot<S>>(simd: S, bytes: D::Sums) -> D::Codes {
    const EIGHTH: [u8; 16] = {
        let mut eighth = [0; 16];
        let mut bits = 0u8;
        while bits < 16 {
            eighth[bits as usize] = (bits.count_ones() as u8 & 1) << 7;
            bits += 1;
        }
        eighth
    };
    let bytes: D::Codes = bytes.bitcast();
    let four = (bytes ^ (bytes >> 4)) & 15;
    bytes | D::sixteens(simd, [&EIGHTH; BLOCKS]).swizzle_dyn_within_blocks(four)
}

/// Negates the codes of the columns from `4·four` on. Each byte of a lane of `signs` has those of eight columns.
#[inline(always)]
pub(super) fn signed<S: Simd, D: Dot<S>>(simd: S, codes: D::Codes, signs: D::Codes, four: usize) -> D::Codes {
    let byte = (four / 2) as u8;
    let from: [u8; 16] = std::array::from_fn(
        #[inline(always)]
        |i| (i as u8 & !3) + byte,
    );
    let bits = signs.swizzle_dyn_within_blocks(D::sixteens(simd, [&from; BLOCKS]));
    let own: [u8; 16] = std::array::from_fn(
        #[inline(always)]
        |i| 1 << (4 * (four % 2) + i % 4),
    );
    D::negated(simd, codes, bits, D::sixteens(simd, [&own; BLOCKS]))
}
