//! The operations of processors for which there are no others.
use fearless_simd::{
    Bytes, Select, Simd, SimdBase, SimdCombine, SimdInt, SimdSplit, SimdWiden, f32x8, i8x16, i8x32, i16x16,
    i32x8, u8x16, u8x32, u16x8, u32x4, u32x8,
};

use super::{BLOCKS, Dot};

/// Portable operations, for processors without a better implementation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl<S: Simd> Dot<S> for Portable {
    const GROUPS: usize = 1;

    type Floats = f32x8<S>;
    type Sums = i32x8<S>;
    type Codes = u8x32<S>;
    type Activations = i8x32<S>;
    type Unsummed = i32x8<S>;

    #[inline(always)]
    fn four_activations(simd: S, activations: [i8; 4]) -> Self::Activations {
        i32x8::splat(simd, i32::from_le_bytes(activations.map(i8::cast_unsigned))).bitcast()
    }

    #[inline(always)]
    fn sixteens(simd: S, [a, b, ..]: [&[u8; 16]; BLOCKS]) -> Self::Codes {
        u8x16::from_slice(simd, a).combine(u8x16::from_slice(simd, b))
    }

    #[inline(always)]
    fn transposed(simd: S, bytes: [Self::Codes; 4]) -> [Self::Codes; 4] {
        let mut all = [[u32x4::splat(simd, 0); 4]; 2];
        for (i, bytes) in bytes.iter().enumerate() {
            let (first, last) = bytes.bitcast::<u32x8<S>>().split();
            (all[0][i], all[1][i]) = (first, last);
        }
        let [first, last] = all.map(
            #[inline(always)]
            |[a, b, c, d]| {
                let (ac, ac_last) = (a.zip_low(c), a.zip_high(c));
                let (bd, bd_last) = (b.zip_low(d), b.zip_high(d));
                [ac.zip_low(bd), ac.zip_high(bd), ac_last.zip_low(bd_last), ac_last.zip_high(bd_last)]
            },
        );
        std::array::from_fn(
            #[inline(always)]
            |i| first[i].combine(last[i]).bitcast(),
        )
    }

    #[inline(always)]
    fn f16_lanes(simd: S, bits: Self::Sums) -> Self::Floats {
        f32x8::from_fn(simd, |i| half::f16::from_bits(bits[i] as u16).to_f32())
    }

    #[inline(always)]
    fn with_set_bits(_: S, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        let set = (bits & own).simd_eq(own);
        set.select(codes | 16, codes)
    }

    #[inline(always)]
    fn fours<const N: usize>(simd: S, table: &[[i8; 4]; N], indices: Self::Sums) -> Self::Codes {
        i32x8::from_fn(simd, |i| four(table, indices[i])).bitcast()
    }

    #[inline(always)]
    fn eights<const N: usize>(simd: S, table: &[[i8; 8]; N], indices: Self::Sums) -> [Self::Codes; 2] {
        let fours = table.as_flattened().as_chunks().0;
        let first = i32x8::from_fn(simd, |i| four(fours, 2 * indices[i]));
        let last = i32x8::from_fn(simd, |i| four(fours, 2 * indices[i] + 1));
        [first.bitcast(), last.bitcast()]
    }

    #[inline(always)]
    fn negated(_: S, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes {
        let set = (bits & own).simd_eq(own);
        set.select((codes ^ 255) + 1, codes)
    }

    #[inline(always)]
    fn folded(_: S, floats: Self::Floats) -> f32x8<S> {
        floats
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
    fn f32_floats(simd: S, bytes: &[u8]) -> Self::Floats {
        u8x32::from_slice(simd, bytes).bitcast()
    }

    #[inline(always)]
    fn f16_floats(simd: S, bytes: &[u8]) -> Self::Floats {
        let numbers = bytes.as_chunks().0;
        f32x8::from_fn(simd, |i| half::f16::from_le_bytes(numbers[i]).to_f32())
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
}

/// An entry of a table, as a number of 32 bits; 0 if there is none.
#[inline(always)]
fn four(table: &[[i8; 4]], index: i32) -> i32 {
    let entry = table.get(index as usize).copied().unwrap_or_default();
    i32::from_le_bytes(entry.map(i8::cast_unsigned))
}
