//! The vector instructions of the processor, chosen at run time.
use std::sync::LazyLock;

use fearless_simd::{
    Bytes, Level, Simd, SimdBase, SimdCombine, SimdSplit, SimdWiden, f32x8, i8x32, i16x16, i32x8, u8x32,
    u16x16,
};

/// A computation that is written once and compiled for each set of vector instructions. `run` and every function that
/// it calls must be `#[inline(always)]`: only code that is inlined into [`run_at`] is compiled for the chosen
/// instructions.
pub(super) trait Kernel {
    fn run<S: Simd, D: Dot<S>>(self, simd: S);
}

/// Operations whose implementation differs between sets of instructions by more than the width of their vectors.
pub(super) trait Dot<S: Simd>: Copy {
    /// Whether sixteen sums and their operands fit the registers.
    const MANY_REGISTERS: bool = false;

    /// The dot product of 32 codes and 32 activations, as partial sums: the first four lanes add up to the product of
    /// the first 16 columns, the last four lanes to that of the last 16.
    fn dot(simd: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S>;

    /// Converts one little-endian f16 to f32.
    fn f16_to_f32(simd: S, bits: [u8; 2]) -> f32;

    /// Converts eight little-endian f16 to f32.
    fn f16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S>;

    /// Spreads 32 bits over 32 bytes: 16 for a set bit, 0 for any other. These are the fifth bits of 5-bit codes.
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S>;
}

/// Runs a kernel with the widest instructions of this processor.
pub(super) fn run(kernel: impl Kernel) {
    static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);
    run_at(*LEVEL, kernel);
}

/// Runs a kernel with the instructions of `level`.
pub(super) fn run_at(level: Level, kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        use fearless_simd::Sse2;
        // The order matters: each level includes the instructions of the levels below it.
        if let Some(simd) = level.as_avx512() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, x86::Vnni>(simd),
            )
        } else if let Some(simd) = level.as_avx2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, x86::Madd>(simd),
            )
        } else if let Some(simd) = level.as_sse4_2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, Portable>(simd),
            )
        } else if let Some(simd) = level.as_sse2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<Sse2, Portable>(simd),
            )
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    fearless_simd::dispatch!(level, simd => kernel.run::<_, Portable>(simd));
}

/// Portable operations, for processors without a better implementation.
#[derive(Debug, Clone, Copy)]
struct Portable;

impl<S: Simd> Dot<S> for Portable {
    #[inline(always)]
    fn dot(_: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S> {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // A product is at most 255 · 127, which fits in 16 bits.
        let sum = |codes: u16x16<S>, activations: i16x16<S>| {
            let (a, b) = (codes.bitcast::<i16x16<S>>() * activations).widen();
            let (a, b) = (a + b).split();
            a + b
        };
        sum(first_codes, first).combine(sum(last_codes, last))
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use fearless_simd::{Avx2, Avx512, SimdBase, SimdInto, f32x8, i8x32, i32x8, u8x16, u8x32};

    use super::Dot;

    /// Uses the VNNI instruction, which sums four products of bytes.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Vnni;

    impl Dot<Avx512> for Vnni {
        const MANY_REGISTERS: bool = true;

        #[inline(always)]
        fn dot(simd: Avx512, codes: u8x32<Avx512>, activations: i8x32<Avx512>) -> i32x8<Avx512> {
            fearless_simd::kernel!(
                #[inline(always)]
                fn kernel(simd: Avx512, codes: __m256i, activations: __m256i) -> __m256i {
                    let _ = simd;
                    _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, activations)
                }
            );
            kernel(simd, codes.into(), activations.into()).simd_into(simd)
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

    /// Sums two products of 16 bits: the AVX2 instruction for bytes sums two products in 16 bits, which can overflow.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Madd;

    impl Dot<Avx2> for Madd {
        #[inline(always)]
        fn dot(simd: Avx2, codes: u8x32<Avx2>, activations: i8x32<Avx2>) -> i32x8<Avx2> {
            fearless_simd::kernel!(
                #[inline(always)]
                fn kernel(simd: Avx2, codes: __m256i, activations: __m256i) -> __m256i {
                    let _ = simd;
                    let first = _mm256_madd_epi16(
                        _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes)),
                        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(activations)),
                    );
                    let last = _mm256_madd_epi16(
                        _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes)),
                        _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(activations)),
                    );
                    // `hadd` gives sums of `first`, then of `last`, within each half: exchange the middle two pairs.
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(first, last))
                }
            );
            kernel(simd, codes.into(), activations.into()).simd_into(simd)
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
        fn fifth_bits(simd: Avx2, bits: [u8; 4]) -> u8x32<Avx2> {
            fearless_simd::kernel!(
                #[inline(always)]
                fn kernel(simd: Avx2, bits: i32) -> __m256i {
                    let _ = simd;
                    // Repeat each byte eight times, and keep a different bit in each copy.
                    let byte = _mm256_set_epi64x(
                        0x0303_0303_0303_0303,
                        0x0202_0202_0202_0202,
                        0x0101_0101_0101_0101,
                        0,
                    );
                    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte);
                    let own = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, own), own);
                    _mm256_and_si256(set, _mm256_set1_epi8(16))
                }
            );
            kernel(simd, i32::from_le_bytes(bits)).simd_into(simd)
        }
    }
}
