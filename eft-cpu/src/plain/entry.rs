//! The types of weights.
use fearless_simd::{Bytes, Simd};

use crate::level::Dot;

/// A type of weights, of which each entry has `SIZE` bytes. Weights in a file need not be aligned.
pub(crate) trait Entry<const SIZE: usize> {
    /// Converts as many entries to f32 as a vector has lanes.
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[[u8; SIZE]; LANES]) -> D::Floats;

    /// Converts one entry to f32.
    fn widen_one(entry: [u8; SIZE]) -> f32;

    /// Converts one entry of each lane to f32: the one of this index among those that fit in its 32 bits.
    fn widen_lanes<S: Simd, D: Dot<S>>(simd: S, lanes: D::Codes, index: usize) -> D::Floats;
}

pub(crate) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Entry<4> for F32 {
    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[[u8; 4]; LANES]) -> D::Floats {
        D::f32_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: [u8; 4]) -> f32 {
        f32::from_le_bytes(entry)
    }

    #[inline(always)]
    fn widen_lanes<S: Simd, D: Dot<S>>(_: S, lanes: D::Codes, _: usize) -> D::Floats {
        lanes.bitcast()
    }
}

impl Entry<2> for F16 {
    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[[u8; 2]; LANES]) -> D::Floats {
        D::f16_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: [u8; 2]) -> f32 {
        half::f16::from_le_bytes(entry).to_f32()
    }

    #[inline(always)]
    fn widen_lanes<S: Simd, D: Dot<S>>(simd: S, lanes: D::Codes, index: usize) -> D::Floats {
        let lanes = lanes.bitcast::<D::Sums>();
        D::f16_lanes(simd, if index == 0 { lanes } else { lanes >> 16 })
    }
}

impl Entry<2> for BF16 {
    #[inline(always)]
    fn widen<S: Simd, D: Dot<S>, const LANES: usize>(simd: S, entries: &[[u8; 2]; LANES]) -> D::Floats {
        D::bf16_floats(simd, entries.as_flattened())
    }

    #[inline(always)]
    fn widen_one(entry: [u8; 2]) -> f32 {
        half::bf16::from_le_bytes(entry).to_f32()
    }

    #[inline(always)]
    fn widen_lanes<S: Simd, D: Dot<S>>(_: S, lanes: D::Codes, index: usize) -> D::Floats {
        let lanes = lanes.bitcast::<D::Sums>();
        let bits = if index == 0 { lanes << 16 } else { lanes & (-1 << 16) };
        bits.bitcast::<D::Codes>().bitcast()
    }
}
