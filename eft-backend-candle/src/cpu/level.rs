//! Which vector instructions there are, chosen at run time.
use std::sync::LazyLock;

use fearless_simd::{
    Bytes, Level, Simd, SimdBase, SimdCombine, SimdSplit, SimdWiden, f32x8, i8x32, i16x16, i32x8, u8x32,
    u16x16,
};

/// What is written once and compiled for each set of vector instructions. `run` and what it calls must be
/// `#[inline(always)]`, for only what is inlined is compiled so.
pub(super) trait Kernel {
    fn run<S: Simd, D: Dot<S>>(self, simd: S);
}

/// What differs by instructions in more than width.
pub(super) trait Dot<S: Simd>: Copy {
    /// Whether sixteen sums, and what they read, fit the registers.
    const MANY_REGISTERS: bool = false;

    /// Products of codes and activations. Sums of the first 16 columns are spread over the first four lanes, those of
    /// the others over the last four.
    fn dot(simd: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S>;

    /// A number of 16 bits.
    fn half(simd: S, bits: [u8; 2]) -> f32;

    /// Eight of them.
    fn halves(simd: S, bits: &[u8; 16]) -> f32x8<S>;

    /// 32 bits, each as 16 or 0 in a byte of its own.
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S>;
}

/// Runs a kernel with the best instructions of the processor.
pub(super) fn run(kernel: impl Kernel) {
    static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);
    run_at(*LEVEL, kernel);
}

/// Runs a kernel with given instructions.
pub(super) fn run_at(level: Level, kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        use fearless_simd::Sse2;
        // The order counts: a level has the instructions of those below it.
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
                || kernel.run::<_, Widening>(simd),
            )
        } else if let Some(simd) = level.as_sse2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<Sse2, Widening>(simd),
            )
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    fearless_simd::dispatch!(level, simd => kernel.run::<_, Widening>(simd));
}

/// By the operations that every processor has.
#[derive(Debug, Clone, Copy)]
struct Widening;

impl<S: Simd> Dot<S> for Widening {
    #[inline(always)]
    fn dot(_: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S> {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // 255 · 127 fits 16 bits.
        let sum = |codes: u16x16<S>, activations: i16x16<S>| {
            let (a, b) = (codes.bitcast::<i16x16<S>>() * activations).widen();
            let (a, b) = (a + b).split();
            a + b
        };
        sum(first_codes, first).combine(sum(last_codes, last))
    }

    #[inline(always)]
    fn half(_: S, bits: [u8; 2]) -> f32 {
        half::f16::from_le_bytes(bits).to_f32()
    }

    #[inline(always)]
    fn halves(simd: S, bits: &[u8; 16]) -> f32x8<S> {
        let numbers = bits.as_chunks().0;
        f32x8::from_fn(simd, |i| Self::half(simd, numbers[i]))
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

/// The bits of a byte, each as 16 or 0 in a byte of its own.
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

    /// By the instruction made for it, which sums four products.
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
        fn half(simd: Avx512, bits: [u8; 2]) -> f32 {
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
        fn halves(simd: Avx512, bits: &[u8; 16]) -> f32x8<Avx512> {
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

    /// By sums of two products of 16 bits: sums of two products of bytes may take more than those.
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
                    // Within each half: sums of `first`, then of `last`; the middle two pairs change places.
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(first, last))
                }
            );
            kernel(simd, codes.into(), activations.into()).simd_into(simd)
        }

        #[inline(always)]
        fn half(simd: Avx2, bits: [u8; 2]) -> f32 {
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
        fn halves(simd: Avx2, bits: &[u8; 16]) -> f32x8<Avx2> {
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
                    // Each byte eight times, of which each keeps a bit of its own.
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
