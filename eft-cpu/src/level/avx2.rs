//! The operations of processors with AVX2.
use std::arch::x86_64::*;

use fearless_simd::{
    Avx2, Bytes, SimdBase, SimdCombine, SimdInto, f32x8, i8x32, i16x16, i32x8, u8x16, u8x32,
};

use super::prefetch::prefetch_far;
use super::{BLOCKS, Dot, gather};

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
    type Unsummed = i16x16<Avx2>;

    #[inline(always)]
    fn four_activations(simd: Avx2, activations: [i8; 4]) -> Self::Activations {
        i32x8::splat(simd, i32::from_le_bytes(activations.map(i8::cast_unsigned))).bitcast()
    }

    #[inline(always)]
    fn sixteens(simd: Avx2, [a, b, ..]: [&[u8; 16]; BLOCKS]) -> Self::Codes {
        u8x16::from_slice(simd, a).combine(u8x16::from_slice(simd, b))
    }

    #[inline(always)]
    fn transposed(simd: Avx2, [a, b, c, d]: [Self::Codes; 4]) -> [Self::Codes; 4] {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(
                simd: Avx2,
                a: __m256i,
                b: __m256i,
                c: __m256i,
                d: __m256i,
            ) -> (__m256i, __m256i, __m256i, __m256i) {
                let _ = simd;
                let (ab, ab_last) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let (cd, cd_last) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                (
                    _mm256_unpacklo_epi64(ab, cd),
                    _mm256_unpackhi_epi64(ab, cd),
                    _mm256_unpacklo_epi64(ab_last, cd_last),
                    _mm256_unpackhi_epi64(ab_last, cd_last),
                )
            }
        );
        let (a, b, c, d) = kernel(simd, a.into(), b.into(), c.into(), d.into());
        [a.simd_into(simd), b.simd_into(simd), c.simd_into(simd), d.simd_into(simd)]
    }

    #[inline(always)]
    fn f16_lanes(simd: Avx2, bits: Self::Sums) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: __m256i) -> __m256 {
                let _ = simd;
                let low = _mm256_and_si256(bits, _mm256_set1_epi32(0xFFFF));
                // Packing keeps the halves of the vector apart.
                let packed = _mm256_permute4x64_epi64::<0b10_00>(_mm256_packus_epi32(low, low));
                _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
            }
        );
        kernel(simd, bits.into()).simd_into(simd)
    }

    #[inline(always)]
    fn with_set_bits(simd: Avx2, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: __m256i, bits: __m256i, own: __m256i) -> __m256i {
                let _ = simd;
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, own), own);
                _mm256_or_si256(codes, _mm256_and_si256(set, _mm256_set1_epi8(16)))
            }
        );
        kernel(simd, codes.into(), bits.into(), own.into()).simd_into(simd)
    }

    #[inline(always)]
    fn fours<const N: usize>(simd: Avx2, table: &[[i8; 4]; N], indices: Self::Sums) -> Self::Codes {
        const { assert!(N.is_power_of_two()) };
        gather::eight_fours(simd, table, indices.into()).simd_into(simd)
    }

    #[inline(always)]
    fn eights<const N: usize>(simd: Avx2, table: &[[i8; 8]; N], indices: Self::Sums) -> [Self::Codes; 2] {
        const { assert!(N.is_power_of_two()) };
        let (first, last) = gather::eight_eights(simd, table, indices.into());
        [first.simd_into(simd), last.simd_into(simd)]
    }

    #[inline(always)]
    fn negated(simd: Avx2, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, codes: __m256i, bits: __m256i, own: __m256i) -> __m256i {
                let _ = simd;
                // −1 where the bit is set, which turns all bits of a code around and then adds 1.
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, own), own);
                _mm256_sub_epi8(_mm256_xor_si256(codes, set), set)
            }
        );
        kernel(simd, codes.into(), bits.into(), own.into()).simd_into(simd)
    }

    #[inline(always)]
    fn folded(_: Avx2, floats: Self::Floats) -> f32x8<Avx2> {
        floats
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
    fn prefetch_far(at: *const u8) {
        prefetch_far(at);
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
    fn f32_floats(simd: Avx2, bytes: &[u8]) -> Self::Floats {
        u8x32::from_slice(simd, bytes).bitcast()
    }

    #[inline(always)]
    fn f16_floats(simd: Avx2, bytes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx2, bits: __m128i) -> __m256 {
                let _ = simd;
                _mm256_cvtph_ps(bits)
            }
        );
        kernel(simd, u8x16::from_slice(simd, bytes).into()).simd_into(simd)
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
}
