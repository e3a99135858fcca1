//! The operations of processors with AVX2 or AVX-512.
use std::arch::x86_64::*;

use fearless_simd::{Avx2, Avx512, SimdBase, SimdInto, f32x8, i8x32, i16x16, i32x8, u8x16, u8x32};

use super::Dot;

/// Asks for the cache line of an address.
#[inline(always)]
#[allow(unsafe_code, reason = "there is no safe function that prefetches")]
fn prefetch(at: *const u8) {
    // SAFETY: the instruction is part of every x86-64 processor. It reads nothing, and allows any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// Uses the VNNI instruction, which sums four products of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vnni;

impl Dot<Avx512> for Vnni {
    const MANY_REGISTERS: bool = true;
    const ADDS_BYTES: bool = true;

    type Sum = i32x8<Avx512>;

    #[inline(always)]
    fn zero(simd: Avx512) -> Self::Sum {
        i32x8::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(
        simd: Avx512,
        sum: Self::Sum,
        codes: u8x32<Avx512>,
        activations: i8x32<Avx512>,
    ) -> Self::Sum {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, sum: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
                let _ = simd;
                _mm256_dpbusd_epi32(sum, codes, activations)
            }
        );
        kernel(simd, sum.into(), codes.into(), activations.into()).simd_into(simd)
    }

    #[inline(always)]
    fn lanes(_: Avx512, sum: Self::Sum) -> i32x8<Avx512> {
        sum
    }

    #[inline(always)]
    fn dot_bytes(simd: Avx512, codes: u8x32<Avx512>, activations: i8x32<Avx512>) -> i32x8<Avx512> {
        Self::add_products(simd, Self::zero(simd), codes, activations)
    }

    #[inline(always)]
    fn dot_scaled(
        simd: Avx512,
        codes: u8x32<Avx512>,
        activations: i8x32<Avx512>,
        scales: i16x16<Avx512>,
    ) -> i32x8<Avx512> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: __m256i, activations: __m256i, scales: __m256i) -> __m256i {
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
    fn f16_to_f32(simd: Avx512, bits: [u8; 2]) -> f32 {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: i32) -> f32 {
                let _ = simd;
                _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
            }
        );
        kernel(simd, i32::from(u16::from_le_bytes(bits)))
    }

    #[inline(always)]
    fn f16x8_to_f32(simd: Avx512, bits: &[u8; 16]) -> f32x8<Avx512> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_cvtph_ps(bits)
            }
        );
        kernel(simd, u8x16::from_slice(simd, bits).into()).simd_into(simd)
    }

    #[inline(always)]
    fn i8x8_to_f32(simd: Avx512, codes: &[u8; 8]) -> f32x8<Avx512> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: i64) -> __m256 {
                let _ = simd;
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(codes)))
            }
        );
        kernel(simd, i64::from_le_bytes(*codes)).simd_into(simd)
    }

    #[inline(always)]
    fn bf16x8_to_f32(simd: Avx512, bits: &[u8; 16]) -> f32x8<Avx512> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            }
        );
        kernel(simd, u8x16::from_slice(simd, bits).into()).simd_into(simd)
    }

    #[inline(always)]
    fn fifth_bits(simd: Avx512, bits: [u8; 4]) -> u8x32<Avx512> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: u32) -> __m256i {
                let _ = simd;
                _mm256_maskz_set1_epi8(bits, 16)
            }
        );
        kernel(simd, u32::from_le_bytes(bits)).simd_into(simd)
    }
}

/// Uses the instruction that sums two products of an unsigned and a signed byte in 16 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Madd;

impl Dot<Avx2> for Madd {
    const NARROW_SUMS: bool = true;
    const SIGNED_BYTES: bool = true;

    type Sum = i16x16<Avx2>;

    #[inline(always)]
    fn zero(simd: Avx2) -> Self::Sum {
        i16x16::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(simd: Avx2, sum: Self::Sum, codes: u8x32<Avx2>, activations: i8x32<Avx2>) -> Self::Sum {
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
    fn lanes(simd: Avx2, sum: Self::Sum) -> i32x8<Avx2> {
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
    fn dot_bytes(simd: Avx2, codes: u8x32<Avx2>, activations: i8x32<Avx2>) -> i32x8<Avx2> {
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
    fn i8x8_to_f32(simd: Avx2, codes: &[u8; 8]) -> f32x8<Avx2> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: i64) -> __m256 {
                let _ = simd;
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(codes)))
            }
        );
        kernel(simd, i64::from_le_bytes(*codes)).simd_into(simd)
    }

    #[inline(always)]
    fn bf16x8_to_f32(simd: Avx2, bits: &[u8; 16]) -> f32x8<Avx2> {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            }
        );
        kernel(simd, u8x16::from_slice(simd, bits).into()).simd_into(simd)
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
