//! The operations of processors with AVX-512 and VNNI.
use std::arch::x86_64::*;

use fearless_simd::{
    Avx512, Bytes, SimdBase, SimdCombine, SimdInto, SimdSplit, f32x8, f32x16, i8x64, i32x16, u8x16, u8x32,
    u8x64,
};

use super::prefetch::prefetch_far;
use super::{BLOCKS, Dot, gather};

/// Uses the VNNI instruction, which sums four products of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vnni;

impl Dot<Avx512> for Vnni {
    const MANY_REGISTERS: bool = true;
    const ADDS_BYTES: bool = true;
    const GROUPS: usize = 2;

    type Floats = f32x16<Avx512>;
    type Sums = i32x16<Avx512>;
    type Codes = u8x64<Avx512>;
    type Activations = i8x64<Avx512>;
    type Unsummed = i32x16<Avx512>;

    #[inline(always)]
    fn four_activations(simd: Avx512, activations: [i8; 4]) -> Self::Activations {
        i32x16::splat(simd, i32::from_le_bytes(activations.map(i8::cast_unsigned))).bitcast()
    }

    #[inline(always)]
    fn sixteens(simd: Avx512, [a, b, c, d]: [&[u8; 16]; BLOCKS]) -> Self::Codes {
        let (a, b) = (u8x16::from_slice(simd, a), u8x16::from_slice(simd, b));
        let (c, d) = (u8x16::from_slice(simd, c), u8x16::from_slice(simd, d));
        a.combine(b).combine(c.combine(d))
    }

    #[inline(always)]
    fn transposed(simd: Avx512, [a, b, c, d]: [Self::Codes; 4]) -> [Self::Codes; 4] {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(
                simd: Avx512,
                a: __m512i,
                b: __m512i,
                c: __m512i,
                d: __m512i,
            ) -> (__m512i, __m512i, __m512i, __m512i) {
                let _ = simd;
                let (ab, ab_last) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (cd, cd_last) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                (
                    _mm512_unpacklo_epi64(ab, cd),
                    _mm512_unpackhi_epi64(ab, cd),
                    _mm512_unpacklo_epi64(ab_last, cd_last),
                    _mm512_unpackhi_epi64(ab_last, cd_last),
                )
            }
        );
        let (a, b, c, d) = kernel(simd, a.into(), b.into(), c.into(), d.into());
        [a.simd_into(simd), b.simd_into(simd), c.simd_into(simd), d.simd_into(simd)]
    }

    #[inline(always)]
    fn f16_lanes(simd: Avx512, bits: Self::Sums) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m512i) -> __m512 {
                let _ = simd;
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits))
            }
        );
        kernel(simd, bits.into()).simd_into(simd)
    }

    #[inline(always)]
    fn with_set_bits(simd: Avx512, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: __m512i, bits: __m512i, own: __m512i) -> __m512i {
                let _ = simd;
                _mm512_mask_add_epi8(codes, _mm512_test_epi8_mask(bits, own), codes, _mm512_set1_epi8(16))
            }
        );
        kernel(simd, codes.into(), bits.into(), own.into()).simd_into(simd)
    }

    #[inline(always)]
    fn fours<const N: usize>(simd: Avx512, table: &[[i8; 4]; N], indices: Self::Sums) -> Self::Codes {
        const { assert!(N.is_power_of_two()) };
        gather::sixteen_fours(simd, table, indices.into()).simd_into(simd)
    }

    #[inline(always)]
    fn eights<const N: usize>(simd: Avx512, table: &[[i8; 8]; N], indices: Self::Sums) -> [Self::Codes; 2] {
        const { assert!(N.is_power_of_two()) };
        let (first, last) = gather::sixteen_eights(simd, table, indices.into());
        [first.simd_into(simd), last.simd_into(simd)]
    }

    #[inline(always)]
    fn negated(simd: Avx512, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: __m512i, bits: __m512i, own: __m512i) -> __m512i {
                let _ = simd;
                _mm512_mask_sub_epi8(codes, _mm512_test_epi8_mask(bits, own), _mm512_setzero_si512(), codes)
            }
        );
        kernel(simd, codes.into(), bits.into(), own.into()).simd_into(simd)
    }

    #[inline(always)]
    fn folded(_: Avx512, floats: Self::Floats) -> f32x8<Avx512> {
        let (first, last) = floats.split();
        first + last
    }

    #[inline(always)]
    fn zero(simd: Avx512) -> Self::Unsummed {
        i32x16::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(
        simd: Avx512,
        sum: Self::Unsummed,
        codes: Self::Codes,
        activations: Self::Activations,
    ) -> Self::Unsummed {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, sum: __m512i, codes: __m512i, activations: __m512i) -> __m512i {
                let _ = simd;
                _mm512_dpbusd_epi32(sum, codes, activations)
            }
        );
        kernel(simd, sum.into(), codes.into(), activations.into()).simd_into(simd)
    }

    #[inline(always)]
    fn summed(_: Avx512, sum: Self::Unsummed) -> Self::Sums {
        sum
    }

    #[inline(always)]
    fn dot_bytes(simd: Avx512, codes: Self::Codes, activations: Self::Activations) -> Self::Sums {
        Self::add_products(simd, Self::zero(simd), codes, activations)
    }

    #[inline(always)]
    fn i8_floats(simd: Avx512, codes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: __m128i) -> __m512 {
                let _ = simd;
                _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))
            }
        );
        kernel(simd, u8x16::from_slice(simd, codes).into()).simd_into(simd)
    }

    #[inline(always)]
    fn f32_floats(simd: Avx512, bytes: &[u8]) -> Self::Floats {
        u8x64::from_slice(simd, bytes).bitcast()
    }

    #[inline(always)]
    fn f16_floats(simd: Avx512, bytes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m256i) -> __m512 {
                let _ = simd;
                _mm512_cvtph_ps(bits)
            }
        );
        kernel(simd, u8x32::from_slice(simd, bytes).into()).simd_into(simd)
    }

    #[inline(always)]
    fn bf16_floats(simd: Avx512, bytes: &[u8]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m256i) -> __m512 {
                let _ = simd;
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
            }
        );
        kernel(simd, u8x32::from_slice(simd, bytes).into()).simd_into(simd)
    }

    #[inline(always)]
    fn prefetch_far(at: *const u8) {
        prefetch_far(at);
    }
}
