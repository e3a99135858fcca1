//! Looking up several entries of a table at once on x86.
#![allow(unsafe_code, reason = "there is no safe function that reads from several places at once")]
use std::arch::x86_64::*;

fearless_simd::kernel!(
    /// Four bytes for each of sixteen indices. The length of the table is a power of two.
    ///
    /// # Panics
    /// Panics if the table is empty.
    #[inline(always)]
    pub(super) fn sixteen_fours(simd: Avx512, table: &[[i8; 4]], indices: __m512i) -> __m512i {
        let _ = simd;
        assert!(!table.is_empty());
        let indices = _mm512_and_si512(indices, _mm512_set1_epi32(mask(table)));
        // SAFETY: after the mask, each index is at least 0 and below the length of the table, whose entries have four bytes. So only
        // entries are read, and a gather needs no alignment.
        unsafe { _mm512_i32gather_epi32::<4>(indices, table.as_ptr().cast()) }
    }
);

fearless_simd::kernel!(
    /// Eight bytes for each of sixteen indices: the first four, then the last four. The length of the table is a power of two.
    ///
    /// # Panics
    /// Panics if the table is empty.
    #[inline(always)]
    pub(super) fn sixteen_eights(simd: Avx512, table: &[[i8; 8]], indices: __m512i) -> (__m512i, __m512i) {
        let _ = simd;
        assert!(!table.is_empty());
        let indices = _mm512_and_si512(indices, _mm512_set1_epi32(mask(table)));
        let (first, last) = (_mm512_castsi512_si256(indices), _mm512_extracti64x4_epi64::<1>(indices));
        // SAFETY: after the mask, each index is at least 0 and below the length of the table, whose entries have eight bytes. So only
        // entries are read, and a gather needs no alignment.
        let first = unsafe { _mm512_i32gather_epi64::<8>(first, table.as_ptr().cast()) };
        // SAFETY: as for the first half of the indices: these have been masked in the same way.
        let last = unsafe { _mm512_i32gather_epi64::<8>(last, table.as_ptr().cast()) };
        let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
        let odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
        (_mm512_permutex2var_epi32(first, even, last), _mm512_permutex2var_epi32(first, odd, last))
    }
);

fearless_simd::kernel!(
    /// Four bytes for each of eight indices. The length of the table is a power of two.
    ///
    /// # Panics
    /// Panics if the table is empty.
    #[inline(always)]
    pub(super) fn eight_fours(simd: Avx2, table: &[[i8; 4]], indices: __m256i) -> __m256i {
        let _ = simd;
        assert!(!table.is_empty());
        let indices = _mm256_and_si256(indices, _mm256_set1_epi32(mask(table)));
        // SAFETY: after the mask, each index is at least 0 and below the length of the table, whose entries have four bytes. So only
        // entries are read, and a gather needs no alignment.
        unsafe { _mm256_i32gather_epi32::<4>(table.as_ptr().cast(), indices) }
    }
);

fearless_simd::kernel!(
    /// Eight bytes for each of eight indices: the first four, then the last four. The length of the table is a power of two.
    ///
    /// # Panics
    /// Panics if the table is empty.
    #[inline(always)]
    pub(super) fn eight_eights(simd: Avx2, table: &[[i8; 8]], indices: __m256i) -> (__m256i, __m256i) {
        let _ = simd;
        assert!(!table.is_empty());
        let indices = _mm256_and_si256(indices, _mm256_set1_epi32(mask(table)));
        let (first, last) = (_mm256_castsi256_si128(indices), _mm256_extracti128_si256::<1>(indices));
        // SAFETY: after the mask, each index is at least 0 and below the length of the table, whose entries have eight bytes. So only
        // entries are read, and a gather needs no alignment.
        let first = unsafe { _mm256_i32gather_epi64::<8>(table.as_ptr().cast(), first) };
        // SAFETY: as for the first half of the indices: these have been masked in the same way.
        let last = unsafe { _mm256_i32gather_epi64::<8>(table.as_ptr().cast(), last) };
        let (first, last) = (_mm256_castsi256_ps(first), _mm256_castsi256_ps(last));
        // Shuffling and unpacking keep the halves of vectors apart.
        let fours = [
            _mm256_shuffle_ps::<0b10_00_10_00>(first, last),
            _mm256_shuffle_ps::<0b11_01_11_01>(first, last),
        ];
        let [first, last] =
            fours.map(|fours| _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(fours)));
        (first, last)
    }
);

/// What an index is masked with so that it is not negative and below the length of a table, which is not empty.
#[inline(always)]
fn mask<T>(table: &[T]) -> i32 {
    i32::try_from(table.len() - 1).unwrap_or(0)
}
