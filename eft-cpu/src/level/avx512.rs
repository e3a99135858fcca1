//! The operations of processors with AVX-512 and VNNI.
use std::arch::x86_64::*;

use fearless_simd::{
    Avx512, Bytes, SimdBase, SimdCombine, SimdInto, SimdSplit, f32x4, f32x8, f32x16, i8x32, i8x64, i16x16,
    i16x32, i32x16, u8x16, u8x32, u8x64, u32x4, u32x16,
};

use super::prefetch::{prefetch, prefetch_far};
use super::{Dot, bytes_of};

/// Uses the VNNI instruction, which sums four products of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vnni;

/// Reads 16 bits of each of four blocks: see [`bytes_of`].
#[inline(always)]
fn words(blocks: &[u8], start: usize, size: usize) -> u64 {
    let mut words = 0;
    for i in 0..4 {
        words |= u64::from(u16::from_le_bytes(bytes_of(blocks, i, start, size))) << (16 * i);
    }
    words
}

/// The same with 32 bits of each.
#[inline(always)]
fn double_words(blocks: &[u8], start: usize, size: usize) -> [u32; 4] {
    let mut words = [0; 4];
    for (i, word) in words.iter_mut().enumerate() {
        *word = u32::from_le_bytes(bytes_of(blocks, i, start, size));
    }
    words
}

impl Dot<Avx512> for Vnni {
    const MANY_REGISTERS: bool = true;
    const ADDS_BYTES: bool = true;
    const GROUPS: usize = 2;
    const FEW: usize = super::FEW_IN_PAIRS;

    type Floats = f32x16<Avx512>;
    type Sums = i32x16<Avx512>;
    type Codes = u8x64<Avx512>;
    type Activations = i8x64<Avx512>;
    type Scales = i16x32<Avx512>;
    type Unsummed = i32x16<Avx512>;

    #[inline(always)]
    fn interleaved(simd: Avx512, first: u8x32<Avx512>, second: u8x32<Avx512>) -> Self::Codes {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, first: __m256i, second: __m256i) -> __m512i {
                let _ = simd;
                let eights = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
                let (first, second) = (_mm512_castsi256_si512(first), _mm512_castsi256_si512(second));
                _mm512_permutex2var_epi64(first, eights, second)
            }
        );
        kernel(simd, first.into(), second.into()).simd_into(simd)
    }

    #[inline(always)]
    fn interleaved_scales(simd: Avx512, scales: &[f32]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, scales: __m128) -> __m512 {
                let _ = simd;
                _mm512_broadcast_f32x4(scales)
            }
        );
        kernel(simd, f32x4::from_slice(simd, scales).into()).simd_into(simd)
    }

    #[inline(always)]
    fn four_codes(simd: Avx512, codes: [u8; 4]) -> Self::Codes {
        u32x16::splat(simd, u32::from_le_bytes(codes)).bitcast()
    }

    #[inline(always)]
    fn repeated(simd: Avx512, activations: &[i8; 32]) -> Self::Activations {
        let once = i8x32::from_slice(simd, activations);
        once.combine(once)
    }

    #[inline(always)]
    fn repeated_scales(simd: Avx512, scales: i16x16<Avx512>) -> Self::Scales {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, scales: __m256i) -> __m512i {
                let _ = simd;
                let scales = _mm512_castsi256_si512(scales);
                _mm512_shuffle_i64x2::<0b01_01_00_00>(scales, scales)
            }
        );
        kernel(simd, scales.into()).simd_into(simd)
    }

    #[inline(always)]
    fn first_group(simd: Avx512, floats: f32x8<Avx512>) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, floats: __m256) -> __m512 {
                let _ = simd;
                _mm512_zextps256_ps512(floats)
            }
        );
        kernel(simd, floats.into()).simd_into(simd)
    }

    #[inline(always)]
    fn folded(_: Avx512, floats: Self::Floats) -> f32x8<Avx512> {
        let (first, last) = floats.split();
        first + last
    }

    #[inline(always)]
    fn scales_of_halves(simd: Avx512, scales: &[[f32; 2]]) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, scales: __m128) -> __m512 {
                let _ = simd;
                let each = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
                _mm512_permutexvar_ps(each, _mm512_castps128_ps512(scales))
            }
        );
        kernel(simd, f32x4::from_slice(simd, scales.as_flattened()).into()).simd_into(simd)
    }

    #[inline(always)]
    fn sums_of_groups(_: Avx512, floats: Self::Floats) -> [f32; 2] {
        let (first, last) = floats.split();
        [first.reduce_sum(), last.reduce_sum()]
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
    fn dot_scaled(
        simd: Avx512,
        codes: Self::Codes,
        activations: Self::Activations,
        scales: Self::Scales,
    ) -> Self::Sums {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, codes: __m512i, activations: __m512i, scales: __m512i) -> __m512i {
                let _ = simd;
                _mm512_madd_epi16(_mm512_maddubs_epi16(codes, activations), scales)
            }
        );
        kernel(simd, codes.into(), activations.into(), scales.into()).simd_into(simd)
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
    fn add_dots(
        simd: Avx512,
        sums: Self::Sums,
        [first, last]: [Self::Codes; 2],
        [x_first, x_last]: [Self::Activations; 2],
    ) -> Self::Sums {
        Self::add_products(simd, Self::add_products(simd, sums, first, x_first), last, x_last)
    }

    #[inline(always)]
    fn add_dots_of_bytes(
        simd: Avx512,
        sums: Self::Sums,
        codes: [Self::Codes; 2],
        activations: [Self::Activations; 2],
    ) -> Self::Sums {
        Self::add_dots(simd, sums, codes, activations)
    }

    #[inline(always)]
    fn side_by_side(simd: Avx512, blocks: &[u8], start: usize, size: usize) -> Self::Codes {
        let a = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 0, start, size));
        let b = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 1, start, size));
        let c = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 2, start, size));
        let d = u8x16::from_slice(simd, &bytes_of::<16>(blocks, 3, start, size));
        a.combine(b).combine(c.combine(d))
    }

    #[inline(always)]
    fn with_fifth_bits(
        simd: Avx512,
        [first, last]: [Self::Codes; 2],
        blocks: &[u8],
        start: usize,
        size: usize,
    ) -> [Self::Codes; 2] {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, first: __m512i, last: __m512i, bits: __m128i) -> (__m512i, __m512i) {
                let _ = simd;
                let each = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
                let each = _mm512_permutexvar_epi32(each, _mm512_castsi128_si512(bits));
                // Each byte of bits is repeated for its eight codes, each of which has its own bit in it.
                let bytes = _mm_set_epi64x(0x0101_0101_0101_0101, 0);
                let of_first = _mm512_shuffle_epi8(each, _mm512_broadcast_i32x4(bytes));
                let bytes = _mm_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202);
                let of_last = _mm512_shuffle_epi8(each, _mm512_broadcast_i32x4(bytes));
                let own = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
                let sixteen = _mm512_set1_epi8(16);
                let (set, set_last) =
                    (_mm512_test_epi8_mask(of_first, own), _mm512_test_epi8_mask(of_last, own));
                (
                    _mm512_mask_add_epi8(first, set, first, sixteen),
                    _mm512_mask_add_epi8(last, set_last, last, sixteen),
                )
            }
        );
        let bits = u32x4::from_slice(simd, &double_words(blocks, start, size));
        let (first, last) = kernel(simd, first.into(), last.into(), bits.into());
        [first.simd_into(simd), last.simd_into(simd)]
    }

    #[inline(always)]
    fn f16s(simd: Avx512, blocks: &[u8], size: usize) -> Self::Floats {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: u64) -> __m512 {
                let _ = simd;
                let each = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
                let numbers = _mm_cvtph_ps(_mm_cvtsi64_si128(bits.cast_signed()));
                _mm512_permutexvar_ps(each, _mm512_castps128_ps512(numbers))
            }
        );
        kernel(simd, words(blocks, 0, size)).simd_into(simd)
    }

    #[inline(always)]
    fn f16_pairs(simd: Avx512, blocks: &[u8], size: usize) -> [Self::Floats; 2] {
        fearless_simd::kernel!(
            #[inline(always)]
            fn kernel(simd: Avx512, bits: __m128i) -> (__m512, __m512) {
                let _ = simd;
                let first = _mm512_set_epi32(6, 6, 6, 6, 4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0);
                let second = _mm512_set_epi32(7, 7, 7, 7, 5, 5, 5, 5, 3, 3, 3, 3, 1, 1, 1, 1);
                let numbers = _mm512_castps256_ps512(_mm256_cvtph_ps(bits));
                (_mm512_permutexvar_ps(first, numbers), _mm512_permutexvar_ps(second, numbers))
            }
        );
        let bits = u32x4::from_slice(simd, &double_words(blocks, 0, size));
        let (first, second) = kernel(simd, bits.into());
        [first.simd_into(simd), second.simd_into(simd)]
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
    fn prefetch(at: *const u8) {
        prefetch(at);
    }

    #[inline(always)]
    fn prefetch_far(at: *const u8) {
        prefetch_far(at);
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
