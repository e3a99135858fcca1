//! Activations quantised to 8 bits, for products with quantised weights.
use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, f32x8, i32x8};

use super::level::{self, Dot, Kernel};
use super::{instructions, shared};

/// The number of columns that share a scale.
pub(super) const GROUP: usize = 32;

/// The number of activations from which quantising them is split over threads.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// Rows of 8-bit codes in groups of 32 columns. An activation is approximately `scale·code`, with one scale for each
/// group.
pub(super) struct QuantisedActivations {
    /// The number of groups in a row.
    pub(super) groups: usize,
    rows: Vec<QuantisedGroup>,
}

/// One group: 32 columns of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QuantisedGroup {
    pub(super) codes: [i8; GROUP],
    /// The sums of the first 16 dequantised entries, of the last 16, and of all: these are multiplied with the offsets of the
    /// weights.
    pub(super) halves: [f32; 2],
    pub(super) sum: f32,
    pub(super) scale: f32,
}

impl QuantisedActivations {
    /// Quantises rows of `columns` columns, which must be a multiple of [`GROUP`].
    pub(super) fn new(x: &[f32], columns: usize) -> Self {
        let groups = columns / GROUP;
        let mut rows = vec![QuantisedGroup::default(); x.len() / GROUP];
        let each = rows.chunks_mut(groups).zip(x.chunks(columns));
        let level = instructions::current();
        let quantise = |(to, x): (&mut [_], &[f32])| level::run_at(level, Quantise { x, to });
        if shared::pays(x.len(), PARALLEL_THRESHOLD) {
            shared::for_each(each.collect(), quantise);
        } else {
            each.for_each(quantise);
        }
        Self { groups, rows }
    }

    pub(super) fn row(&self, row: usize) -> &[QuantisedGroup] {
        &self.rows[row * self.groups..(row + 1) * self.groups]
    }
}

/// Rounds to an integer when it is added: 1.5·2²³.
const ROUNDING: f32 = 12_582_912.0;

struct Quantise<'a> {
    x: &'a [f32],
    to: &'a mut [QuantisedGroup],
}

impl Kernel for Quantise<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        for (x, to) in self.x.as_chunks::<GROUP>().0.iter().zip(self.to) {
            let mut largest = f32x8::splat(simd, 0.0);
            let mut non_finite = f32x8::splat(simd, 0.0);
            for x in x.as_chunks::<8>().0 {
                let x = f32x8::from_slice(simd, x);
                largest = largest.max(x.abs());
                // NaN and ∞ must not be lost by rounding: zero times either is NaN, which makes the scale of the group
                // NaN, and so every product with it.
                non_finite = x.mul_add(0.0, non_finite);
            }
            let largest = largest.reduce_max();
            to.scale = largest / 127.0 + non_finite.reduce_sum();
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut rounded = [0; GROUP];
            for (x, rounded) in x.as_chunks::<8>().0.iter().zip(rounded.as_chunks_mut::<8>().0) {
                // Adding 1.5·2²³ leaves the nearest integer, which is within ±127, in the low bits.
                let bits = (f32x8::from_slice(simd, x) * inverse + ROUNDING).bitcast::<i32x8<S>>();
                (bits - ROUNDING.to_bits().cast_signed()).store_slice(rounded);
            }
            for (code, rounded) in to.codes.iter_mut().zip(&rounded) {
                *code = *rounded as i8;
            }
            // Codes are added up, not the rounded numbers, since what NaN and ∞ leave could overflow.
            let mut sums = [0; 2];
            for (sum, codes) in sums.iter_mut().zip(to.codes.as_chunks::<16>().0) {
                for code in codes {
                    *sum += i32::from(*code);
                }
            }
            to.halves = sums.map(
                #[inline(always)]
                |sum: i32| to.scale * sum as f32,
            );
            to.sum = to.scale * (sums[0] + sums[1]) as f32;
        }
    }
}
