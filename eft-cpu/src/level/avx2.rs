//! The operations of processors with AVX2.
use std::arch::x86_64::*;

use fearless_simd::{
    Avx2, Bytes, SimdBase, SimdCombine, SimdInto, SimdSplit, f32x8, i8x32, i16x16, i32x8, u8x16, u8x32, u32x8,
};

use super::prefetch::{prefetch, prefetch_far};
use super::{Dot, bytes_of};

/// Uses the instruction that sums two products of an unsigned and a signed byte in 16 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Madd;

impl Dot<Avx2> for Madd {
    const NARROW_SUMS: bool = true;
    const SIGNED_BYTES: bool = true;
    const GROUPS: usize = 1;

    type Floats = f32x8<Avx2>;
    type Sums = i32x8<Avx2>;
    type Codes = u8x32<Avx2>;
    type Activations = i8x32<Avx2>;
    type Scales = i16x16<Avx2>;
    type Unsummed = i16x16<Avx2>;

    #[inline(always)]
    fn interleaved(_: Avx2, first: u8x32<Avx2>, _: u8x32<Avx2>) -> Self::Codes {
        first
    }

    #[inline(always)]
    fn interleaved_scales(simd: Avx2, scales: &[f32]) -> Self::Floats {
        f32x8::from_slice(simd, scales)
    }

    #[inline(always)]
    fn four_codes(simd: Avx2, codes: [u8; 4]) -> Self::Codes {
        u32x8::splat(simd, u32::from_le_bytes(codes)).bitcast()
    }

    #[inline(always)]
    fn repeated(simd: Avx2, activations: &[i8; 32]) -> Self::Activations {
        i8x32::from_slice(simd, activations)
    }

    #[inline(always)]
    fn repeated_scales(_: Avx2, scales: i16x16<Avx2>) -> Self::Scales {
        scales
    }

    #[inline(always)]
    fn first_group(_: Avx2, floats: f32x8<Avx2>) -> Self::Floats {
        floats
    }

    #[inline(always)]
    fn folded(_: Avx2, floats: Self::Floats) -> f32x8<Avx2> {
        floats
    }

    #[inline(always)]
    fn scales_of_halves(simd: Avx2, scales: &[[f32; 2]]) -> Self::Floats {
        let [first, last] = scales[0];
        f32x8::from_slice(simd, &[first, first, first, first, last, last, last, last])
    }

    #[inline(always)]
    fn sums_of_groups(_: Avx2, floats: Self::Floats) -> [f32; 2] {
        [floats.reduce_sum(), 0.0]
    }

    #[inline(always)]
    fn zero(simd: Avx2) -> Self::Unsummed {
        i16x16::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(
        simd: Avx2,
        sum: Self::Unsummed,
        codes: u8x32<Avx2>,
        activations: i8x32<Avx2>,
    ) -> Self::Unsummed {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, sum: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
                let _ = simd;
                _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, activations))
            }
        );
        kernel(simd, sum.into(), codes.into(), activations.into()).simd_into(simd)
    }

    #[inline(always)]
    fn summed(simd: Avx2, sum: Self::Unsummed) -> Self::Sums {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, sum: __m256i) -> __m256i {
                let _ = simd;
                _mm256_madd_epi16(sum, _mm256_set1_epi16(1))
            }
        );
        kernel(simd, sum.into()).simd_into(simd)
    }

    #[inline(always)]
    fn dot_bytes(simd: Avx2, codes: u8x32<Avx2>, activations: i8x32<Avx2>) -> Self::Sums {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: __m256i, activations: __m256i) -> __m256i {
                let _ = simd;
                // The sign of a code moves to the activation, so that a sum of two products is at most 2 · 128 · 127.
                let sizes = _mm256_abs_epi8(codes);
                let sum = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(activations, codes));
                _mm256_madd_epi16(sum, _mm256_set1_epi16(1))
            }
        );
        kernel(simd, codes.into(), activations.into()).simd_into(simd)
    }

    #[inline(always)]
    fn dot_scaled(
        simd: Avx2,
        codes: u8x32<Avx2>,
        activations: i8x32<Avx2>,
        scales: i16x16<Avx2>,
    ) -> i32x8<Avx2> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: __m256i, activations: __m256i, scales: __m256i) -> __m256i {
                let _ = simd;
                _mm256_madd_epi16(_mm256_maddubs_epi16(codes, activations), scales)
            }
        );
        kernel(simd, codes.into(), activations.into(), scales.into()).simd_into(simd)
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        prefetch(at);
    }

    #[inline(always)]
    fn prefetch_far(at: *const u8) {
        prefetch_far(at);
    }

    #[inline(always)]
    fn f16_to_f32(simd: Avx2, bits: [u8; 2]) -> f32 {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: i32) -> f32 {
                let _ = simd;
                _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
            }
        );
        kernel(simd, i32::from(u16::from_le_bytes(bits)))
    }

    #[inline(always)]
    fn f16x8_to_f32(simd: Avx2, bits: &[u8; 16]) -> f32x8<Avx2> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_cvtph_ps(bits)
            }
        );
        kernel(simd, u8x16::from_slice(simd, bits).into()).simd_into(simd)
    }

    #[inline(always)]
    fn i8_floats(simd: Avx2, codes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: i64) -> __m256 {
                let _ = simd;
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(codes)))
            }
        );
        let codes = codes.first_chunk().map_or(0, |codes| i64::from_le_bytes(*codes));
        kernel(simd, codes).simd_into(simd)
    }

    #[inline(always)]
    fn side_by_side(simd: Avx2, blocks: &[u8], start: usize, size: usize) -> Self::Codes {
        let first = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 0, start, size));
        first.combine(u8x16::from_slice(simd, &bytes_of::<16>(blocks, 1, start, size)))
    }

    #[inline(always)]
    fn with_fifth_bits(
        simd: Avx2,
        [first, last]: [Self::Codes; 2],
        blocks: &[u8],
        start: usize,
        size: usize,
    ) -> [Self::Codes; 2] {
        let a = Self::fifth_bits(simd, bytes_of(blocks, 0, start, size)).split();
        let b = Self::fifth_bits(simd, bytes_of(blocks, 1, start, size)).split();
        [first | a.0.combine(b.0), last | a.1.combine(b.1)]
    }

    #[inline(always)]
    fn f16s(simd: Avx2, blocks: &[u8], size: usize) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: i32) -> __m256 {
                let _ = simd;
                let each = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
                let numbers = _mm256_castps128_ps256(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
                _mm256_permutevar8x32_ps(numbers, each)
            }
        );
        let first = u16::from_le_bytes(bytes_of(blocks, 0, 0, size));
        let last = i16::from_le_bytes(bytes_of(blocks, 1, 0, size));
        kernel(simd, i32::from(first) | i32::from(last) << 16).simd_into(simd)
    }

    #[inline(always)]
    fn f16_pairs(simd: Avx2, blocks: &[u8], size: usize) -> [Self::Floats; 2] {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: i64) -> (__m256, __m256) {
                let _ = simd;
                let numbers = _mm256_castps128_ps256(_mm_cvtph_ps(_mm_cvtsi64_si128(bits)));
                (
                    _mm256_permutevar8x32_ps(numbers, _mm256_set_epi32(2, 2, 2, 2, 0, 0, 0, 0)),
                    _mm256_permutevar8x32_ps(numbers, _mm256_set_epi32(3, 3, 3, 3, 1, 1, 1, 1)),
                )
            }
        );
        let first = u32::from_le_bytes(bytes_of(blocks, 0, 0, size));
        let last = i32::from_le_bytes(bytes_of(blocks, 1, 0, size));
        let (first, second) = kernel(simd, i64::from(first) | i64::from(last) << 32);
        [first.simd_into(simd), second.simd_into(simd)]
    }

    #[inline(always)]
    fn f32_floats(simd: Avx2, bytes: &[u8]) -> Self::Floats {
        u8x32::from_slice(simd, bytes).bitcast()
    }

    #[inline(always)]
    fn f16_floats(simd: Avx2, bytes: &[u8]) -> Self::Floats {
        match bytes.first_chunk() {
            Some(bits) => Self::f16x8_to_f32(simd, bits),
            None => f32x8::splat(simd, 0.0),
        }
    }

    #[inline(always)]
    fn bf16_floats(simd: Avx2, bytes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            }
        );
        kernel(simd, u8x16::from_slice(simd, bytes).into()).simd_into(simd)
    }

    #[inline(always)]
    fn fifth_bits(simd: Avx2, bits: [u8; 4]) -> u8x32<Avx2> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: i32) -> __m256i {
                let _ = simd;
                // Repeat each byte eight times, and keep a different bit in each copy.
                let byte =
                    _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
                let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte);
                let own = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, own), own);
                _mm256_and_si256(set, _mm256_set1_epi8(16))
            }
        );
        kernel(simd, i32::from_le_bytes(bits)).simd_into(simd)
    }
}
