//! The operations of processors for which there are no others.
use fearless_simd::{
    Bytes, Simd, SimdBase, SimdCombine, SimdInt, SimdSplit, SimdWiden, f32x8, i8x16, i8x32, i16x16, i32x8,
    u8x16, u8x32, u16x8, u32x8,
};

use super::{Dot, bytes_of};

/// Portable operations, for processors without a better implementation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

/// Converts an f16 of each of two blocks, in four lanes each: see [`bytes_of`].
#[inline(always)]
fn f16_of_two<S: Simd>(simd: S, blocks: &[u8], start: usize, size: usize) -> f32x8<S> {
    let first = <Portable as Dot<S>>::f16_to_f32(simd, bytes_of(blocks, 0, start, size));
    let last = <Portable as Dot<S>>::f16_to_f32(simd, bytes_of(blocks, 1, start, size));
    f32x8::from_slice(simd, &[first, first, first, first, last, last, last, last])
}

impl<S: Simd> Dot<S> for Portable {
    const GROUPS: usize = 1;

    type Floats = f32x8<S>;
    type Sums = i32x8<S>;
    type Codes = u8x32<S>;
    type Activations = i8x32<S>;
    type Scales = i16x16<S>;
    type Unsummed = i32x8<S>;

    #[inline(always)]
    fn interleaved(_: S, first: u8x32<S>, _: u8x32<S>) -> Self::Codes {
        first
    }

    #[inline(always)]
    fn interleaved_scales(simd: S, scales: &[f32]) -> Self::Floats {
        f32x8::from_slice(simd, scales)
    }

    #[inline(always)]
    fn four_codes(simd: S, codes: [u8; 4]) -> Self::Codes {
        u32x8::splat(simd, u32::from_le_bytes(codes)).bitcast()
    }

    #[inline(always)]
    fn repeated(simd: S, activations: &[i8; 32]) -> Self::Activations {
        i8x32::from_slice(simd, activations)
    }

    #[inline(always)]
    fn repeated_scales(_: S, scales: i16x16<S>) -> Self::Scales {
        scales
    }

    #[inline(always)]
    fn first_group(_: S, floats: f32x8<S>) -> Self::Floats {
        floats
    }

    #[inline(always)]
    fn folded(_: S, floats: Self::Floats) -> f32x8<S> {
        floats
    }

    #[inline(always)]
    fn scales_of_halves(simd: S, scales: &[[f32; 2]]) -> Self::Floats {
        f32x8::from_fn(simd, |i| scales[0][i / 4])
    }

    #[inline(always)]
    fn sums_of_groups(_: S, floats: Self::Floats) -> [f32; 2] {
        [floats.reduce_sum(), 0.0]
    }

    #[inline(always)]
    fn zero(simd: S) -> Self::Unsummed {
        i32x8::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(_: S, sum: Self::Unsummed, codes: u8x32<S>, activations: i8x32<S>) -> Self::Unsummed {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // A product is at most 63 · 127, so a sum of two fits in 16 bits.
        let (a, b) = (first_codes.bitcast::<i16x16<S>>() * first).split();
        let first = a.unzip_low(b) + a.unzip_high(b);
        let (a, b) = (last_codes.bitcast::<i16x16<S>>() * last).split();
        let last = a.unzip_low(b) + a.unzip_high(b);
        let (first, last) = (first.unzip_low(last).widen(), first.unzip_high(last).widen());
        sum + (first.0.combine(first.1) + last.0.combine(last.1))
    }

    #[inline(always)]
    fn summed(_: S, sum: Self::Unsummed) -> Self::Sums {
        sum
    }

    #[inline(always)]
    fn dot_scaled(simd: S, codes: u8x32<S>, activations: i8x32<S>, scales: i16x16<S>) -> Self::Sums {
        let ((first, _), (last, _)) = {
            let (first, last) = scales.widen();
            (first.split(), last.split())
        };
        let dot = <Self as Dot<S>>::add_products(simd, <Self as Dot<S>>::zero(simd), codes, activations);
        dot * first.combine(last)
    }

    #[inline(always)]
    fn dot_bytes(_: S, codes: u8x32<S>, activations: i8x32<S>) -> Self::Sums {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // A product is at most 255 · 127, which fits in 16 bits, but a sum of two does not.
        let (a, b) = (first_codes.bitcast::<i16x16<S>>() * first).widen();
        let first = a.unzip_low(b) + a.unzip_high(b);
        let (a, b) = (last_codes.bitcast::<i16x16<S>>() * last).widen();
        let last = a.unzip_low(b) + a.unzip_high(b);
        first.unzip_low(last) + first.unzip_high(last)
    }

    #[inline(always)]
    fn side_by_side(simd: S, blocks: &[u8], start: usize, size: usize) -> Self::Codes {
        let first = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 0, start, size));
        first.combine(u8x16::from_slice(simd, &bytes_of::<16>(blocks, 1, start, size)))
    }

    #[inline(always)]
    fn with_fifth_bits(
        simd: S,
        [first, last]: [Self::Codes; 2],
        blocks: &[u8],
        start: usize,
        size: usize,
    ) -> [Self::Codes; 2] {
        let a = <Self as Dot<S>>::fifth_bits(simd, bytes_of(blocks, 0, start, size)).split();
        let b = <Self as Dot<S>>::fifth_bits(simd, bytes_of(blocks, 1, start, size)).split();
        [first | a.0.combine(b.0), last | a.1.combine(b.1)]
    }

    #[inline(always)]
    fn f16s(simd: S, blocks: &[u8], size: usize) -> Self::Floats {
        f16_of_two(simd, blocks, 0, size)
    }

    #[inline(always)]
    fn f16_pairs(simd: S, blocks: &[u8], size: usize) -> [Self::Floats; 2] {
        [f16_of_two(simd, blocks, 0, size), f16_of_two(simd, blocks, 2, size)]
    }

    #[inline(always)]
    fn f32_floats(simd: S, bytes: &[u8]) -> Self::Floats {
        u8x32::from_slice(simd, bytes).bitcast()
    }

    #[inline(always)]
    fn f16_floats(simd: S, bytes: &[u8]) -> Self::Floats {
        let numbers = bytes.as_chunks().0;
        f32x8::from_fn(simd, |i| <Self as Dot<S>>::f16_to_f32(simd, numbers[i]))
    }

    #[inline(always)]
    fn i8_floats(simd: S, codes: &[u8]) -> Self::Floats {
        let mut filled = [0; 16];
        filled[..8].copy_from_slice(codes);
        let (first, _) = u8x16::from_slice(simd, &filled).bitcast::<i8x16<S>>().widen();
        let (first, last) = first.widen();
        first.combine(last).to_float()
    }

    #[inline(always)]
    fn bf16_floats(simd: S, bytes: &[u8]) -> Self::Floats {
        let zero = u8x16::splat(simd, 0).bitcast::<u16x8<S>>();
        let (first, last) = zero.interleave(u8x16::from_slice(simd, bytes).bitcast::<u16x8<S>>());
        first.combine(last).bitcast()
    }

    #[inline(always)]
    fn f16_to_f32(_: S, bits: [u8; 2]) -> f32 {
        half::f16::from_le_bytes(bits).to_f32()
    }

    #[inline(always)]
    fn f16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S> {
        let numbers = bits.as_chunks().0;
        f32x8::from_fn(simd, |i| Self::f16_to_f32(simd, numbers[i]))
    }

    #[inline(always)]
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S> {
        let mut spread = [0; 32];
        for (bits, spread) in bits.iter().zip(spread.chunks_exact_mut(8)) {
            spread.copy_from_slice(&SPREAD[usize::from(*bits)].to_le_bytes());
        }
        u8x32::from_slice(simd, &spread)
    }
}

/// For each byte, its eight bits spread over eight bytes of 16 or 0.
static SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut bits = 0;
    while bits < 256 {
        let mut i = 0;
        while i < 8 {
            table[bits] |= ((bits as u64 >> i) & 1) << (8 * i + 4);
            i += 1;
        }
        bits += 1;
    }
    table
};
