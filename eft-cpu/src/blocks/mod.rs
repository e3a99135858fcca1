//! The kinds of quantised blocks of GGUF files, one file for each, which unpacks it.
//!
//! All of them reduce to codes of up to eight bits with a scale and an offset for each group of 16 or 32 codes: an
//! entry is `scale·code + offset`.
mod grids;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod of_32;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod signs;
mod tq1_0;
mod tq2_0;
mod unpacked;

pub(super) use iq1_m::IQ1M;
pub(super) use iq1_s::IQ1S;
pub(super) use iq2_s::IQ2S;
pub(super) use iq2_xs::IQ2XS;
pub(super) use iq2_xxs::IQ2XXS;
pub(super) use iq3_s::IQ3S;
pub(super) use iq3_xxs::IQ3XXS;
pub(super) use iq4_nl::IQ4NL;
pub(super) use iq4_xs::IQ4XS;
pub(super) use mxfp4::MXFP4;
pub(super) use of_32::Small;
pub(super) use q2_k::Q2K;
pub(super) use q3_k::Q3K;
pub(super) use q4_0::Q4_0;
pub(super) use q4_1::Q4_1;
pub(super) use q4_k::Q4K;
pub(super) use q5_0::Q5_0;
pub(super) use q5_1::Q5_1;
pub(super) use q5_k::Q5K;
pub(super) use q6_k::Q6K;
pub(super) use q8_0::Q8_0;
pub(super) use tq1_0::TQ1_0;
pub(super) use tq2_0::TQ2_0;
pub(super) use unpacked::{Column, Unpacked};

use std::ops::Range;

use super::level::Dot;
use fearless_simd::{Simd, SimdFrom, SimdInt};

/// A kind of quantised block.
pub(super) trait Block {
    /// The number of groups of 32 entries in a block.
    const GROUPS: usize;
    /// The size of a block in bytes.
    const BYTES: usize;
    /// Whether the two halves of a group have different scales.
    const HALF_SCALES: bool;
    /// The largest code.
    const LARGEST: u8;

    /// Unpacks a block of each of as many outputs as a vector of floats has lanes.
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    );
}

/// A kind of block of 256 entries, whose scales and offsets are small integers times a number for the whole block.
pub(super) trait SuperBlock {
    /// See [`Block::BYTES`].
    const BYTES: usize;
    /// See [`Block::HALF_SCALES`].
    const HALF_SCALES: bool;
    /// See [`Block::LARGEST`].
    const LARGEST: u8;

    /// Where the codes lie in a block.
    const CODES: Range<usize>;

    /// Returns codes of one of the eight groups. `part(offset)` returns the 32 bytes of a block from `offset` on, or those of some
    /// columns among them; the codes are of the same columns.
    fn codes<S: Simd, D: Dot<S>>(part: impl Fn(usize) -> D::Codes, group: usize) -> D::Codes;

    /// Unpacks the scales and offsets of a block of each output.
    fn unpack_scales<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    );
}

impl<B: SuperBlock> Block for B {
    const GROUPS: usize = 8;
    const BYTES: usize = B::BYTES;
    const HALF_SCALES: bool = B::HALF_SCALES;
    const LARGEST: u8 = B::LARGEST;

    #[inline(always)]
    fn unpack<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
        simd: S,
        column: &Column<'_, LANES, BYTES>,
        groups: &mut [Unpacked<LANES>],
    ) {
        B::unpack_scales::<S, D, LANES, BYTES>(simd, column, groups);
        let mut parts = [[D::Codes::simd_from(simd, 0); 4]; LARGEST_CODES / 16];
        // Written out, so that offsets are constants.
        macro_rules! read { ($($i:literal)*) => { $(
            if B::CODES.start + 16 * $i < B::CODES.end {
                parts[$i] = column.sixteens::<S, D>(simd, B::CODES.start + 16 * $i);
            }
        )* } }
        read!(0 1 2 3 4 5 6 7 8 9 10 11);
        for (i, group) in groups.iter_mut().enumerate() {
            for four in 0..8 {
                let codes = B::codes::<S, D>(
                    #[inline(always)]
                    |offset| parts[(offset - B::CODES.start) / 16 + four / 4][four % 4],
                    i,
                );
                group.set_codes::<S, D>(four, codes);
            }
        }
    }
}

/// The largest number of bytes of codes in a [`SuperBlock`].
const LARGEST_CODES: usize = 192;

/// Reads `N` bytes of a block from `start` on.
#[inline(always)]
fn at<const N: usize>(block: &[u8], start: usize) -> &[u8; N] {
    const { assert!(N <= 256) };
    // Not reached without a value: callers pass blocks of the length of their kind.
    block.get(start..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
}

/// Takes `count` bits of each byte from bit `from` on, and moves them to bit `to`.
#[inline(always)]
fn moved<S: Simd, D: Dot<S>>(bytes: D::Codes, from: usize, count: usize, to: usize) -> D::Codes {
    let kept = ((1 << count) - 1) as u8;
    if from > to {
        (bytes >> (from - to) as u32) & (kept << to)
    } else {
        (bytes & (kept << from)) << (to - from) as u32
    }
}

/// The byte of this index of each lane.
#[inline(always)]
fn byte<S: Simd, D: Dot<S>>(lanes: D::Sums, index: usize) -> D::Sums {
    (lanes >> (8 * index) as u32) & 255
}

/// Odd scales, of which `bits` are all but the lowest one.
#[inline(always)]
fn odd<S: Simd, D: Dot<S>>(bits: D::Sums) -> D::Floats {
    ((bits << 1) + 1).to_float()
}

/// Unpacks the scales and offsets at the start of `Q4_K` and `Q5_K` blocks: six bits for each group, times an f16 for the
/// block.
#[inline(always)]
fn unpack_six_bits<S: Simd, D: Dot<S>, const LANES: usize, const BYTES: usize>(
    simd: S,
    column: &Column<'_, LANES, BYTES>,
    groups: &mut [Unpacked<LANES>],
) {
    let [all, scales, offsets, both] = column.words::<S, D>(simd, 0);
    let scale = D::f16_lanes(simd, all);
    let offset = D::f16_lanes(simd, all >> 16) * -1.0;
    for i in 0..4 {
        let (first, last) = groups.split_at_mut(4);
        let at = 8 * i as u32;
        let of_first = [(scales >> at) & 63, (offsets >> at) & 63];
        let of_last = [
            ((both >> at) & 15) | ((scales >> (at + 2)) & 0x30),
            ((both >> (at + 4)) & 15) | ((offsets >> (at + 2)) & 0x30),
        ];
        for (group, [of_scale, of_offset]) in [(&mut first[i], of_first), (&mut last[i], of_last)] {
            let (scales, offsets) = (of_scale.to_float::<D::Floats>(), of_offset.to_float::<D::Floats>());
            group.set::<S, D>(0, scales * scale, offsets * offset);
        }
    }
}
