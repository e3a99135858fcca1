//! [`CacheType`]: the types of numbers that a KV cache can keep.
use std::array;
use std::fmt;
use std::str::FromStr;

use eft_core::{Error, Result};
use fearless_simd::{Simd, SimdBase};
use half::f16;

use crate::level::Dot;

/// The type of the numbers that a KV cache keeps. Attention computes in f32 with each of them: numbers of the cache are
/// widened in registers when they are read. A long context is read as a whole for each new token, so a smaller type takes less
/// time as well as less memory.
///
/// ```
/// use eft_cpu::ops::CacheType;
///
/// assert_eq!(CacheType::default(), CacheType::F32);
/// assert_eq!("q8_0".parse::<CacheType>()?, CacheType::Q8_0);
/// assert_eq!(CacheType::F16.to_string(), "f16");
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheType {
    /// 32 bits a number, as they were computed; the default.
    #[default]
    F32,
    /// 16 bits a number. Numbers beyond ±65,504 become ±65,504.
    F16,
    /// 9 bits a number: integers of 8 bits, and a factor in f32 for each 32 numbers of a head. The last group of a head whose
    /// width is no multiple of 32 is filled up.
    Q8_0,
}

impl CacheType {
    /// All types, the largest first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// The name: `f32`, `f16` or `q8_0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CacheType {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidParameter`] if no type has this name.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::InvalidParameter {
            name: "the type of the KV cache",
            value: format!("`{name}`"),
            expected: "f32, f16 or q8_0",
        })
    }
}

/// Consecutive entries of a key or of a value as the cache keeps them.
pub(super) trait Unit: Copy + Send + Sync {
    /// The number of entries, a multiple of the floats in a vector.
    const ENTRIES: usize;

    /// Converts up to [`ENTRIES`](Self::ENTRIES) entries. Missing ones are 0.
    fn pack(entries: &[f32]) -> Self;

    /// Converts as many entries to f32 as a vector has lanes, which are `LANES`: those from `LANES·part` on.
    fn floats<S: Simd, D: Dot<S>, const LANES: usize>(&self, simd: S, part: usize) -> D::Floats;
}

/// Returns `LANES` of the entries: those from `LANES·part` on. `part` is taken modulo their number, so that it is in range.
#[inline(always)]
fn part_of<T, const LANES: usize>(entries: &[T], part: usize) -> &[T; LANES] {
    let parts = entries.as_chunks().0;
    &parts[part % parts.len()]
}

/// Returns the first `N` entries; missing ones are 0.
fn padded<const N: usize>(entries: &[f32]) -> [f32; N] {
    array::from_fn(|i| entries.get(i).copied().unwrap_or(0.0))
}

/// Sixteen entries in f32.
pub(super) type F32 = [f32; 16];

impl Unit for F32 {
    const ENTRIES: usize = 16;

    #[inline]
    fn pack(entries: &[f32]) -> Self {
        padded(entries)
    }

    #[inline(always)]
    fn floats<S: Simd, D: Dot<S>, const LANES: usize>(&self, simd: S, part: usize) -> D::Floats {
        D::Floats::from_slice(simd, part_of::<f32, LANES>(self, part))
    }
}

/// Sixteen entries in f16, little-endian.
#[derive(Debug, Clone, Copy)]
pub(super) struct F16([[u8; 2]; 16]);

impl Unit for F16 {
    const ENTRIES: usize = 16;

    #[inline]
    fn pack(entries: &[f32]) -> Self {
        let largest = f16::MAX.to_f32();
        let mut bytes = [[0; 2]; 16];
        for (entry, bytes) in entries.iter().zip(&mut bytes) {
            *bytes = f16::from_f32(entry.clamp(-largest, largest)).to_le_bytes();
        }
        Self(bytes)
    }

    #[inline(always)]
    fn floats<S: Simd, D: Dot<S>, const LANES: usize>(&self, simd: S, part: usize) -> D::Floats {
        D::f16_floats(simd, part_of::<_, LANES>(&self.0, part).as_flattened())
    }
}

/// 32 entries as codes of 8 bits and a common factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Q8 {
    factor: f32,
    /// Numbers from −127 to 127 in two's complement.
    codes: [u8; 32],
}

impl Unit for Q8 {
    const ENTRIES: usize = 32;

    #[inline]
    fn pack(entries: &[f32]) -> Self {
        // A NaN, which `max` would leave out, and an infinity make the factor, and so all entries, NaN.
        let finite = entries.iter().all(|x| x.is_finite());
        let largest = entries.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let factor = if finite { largest / 127.0 } else { f32::NAN };
        let inverse = if factor > 0.0 { factor.recip() } else { 0.0 };
        let entries: [f32; 32] = padded(entries);
        let code = |x: f32| (x * inverse).round_ties_even() as i8 as u8;
        Self { factor, codes: entries.map(code) }
    }

    #[inline(always)]
    fn floats<S: Simd, D: Dot<S>, const LANES: usize>(&self, simd: S, part: usize) -> D::Floats {
        D::i8_floats(simd, part_of::<_, LANES>(&self.codes, part)) * self.factor
    }
}
