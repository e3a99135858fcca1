//! Activations quantised to 8 bits, for products with quantised weights.
use fearless_simd::{Bytes, Simd, SimdBase, f32x8, i32x8};

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

/// In a group in which no activation is as large as this, all are taken for 0: the inverse of their scale could be infinite.
const LEAST: f32 = 1e-36;

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
            for x in x.as_chunks::<8>().0 {
                largest = largest.max(f32x8::from_slice(simd, x).abs());
            }
            let largest = largest.reduce_max();
            let inverse = if largest >= LEAST { 127.0 / largest } else { 0.0 };
            let mut sums = [f32x8::splat(simd, 0.0); 2];
            let mut codes = [0; GROUP];
            for (i, (x, codes)) in x.as_chunks::<8>().0.iter().zip(codes.as_chunks_mut::<8>().0).enumerate() {
                // Adding 1.5·2²³ leaves the nearest integer, which is within ±127, in the low bits.
                let rounded = f32x8::from_slice(simd, x) * inverse + ROUNDING;
                (rounded.bitcast::<i32x8<S>>() - ROUNDING.to_bits().cast_signed()).store_slice(codes);
                sums[i / 2] += rounded - ROUNDING;
            }
            for (to, code) in to.codes.iter_mut().zip(&codes) {
                *to = *code as i8;
            }
            // Sums of integers, which are exact.
            let sums = [sums[0].reduce_sum(), sums[1].reduce_sum()];
            // NaN and ∞ must not be lost by rounding. Either makes a sum NaN, since ∞ is multiplied with 0. So the scale of the group
            // becomes NaN, and every product with it.
            to.scale = largest / 127.0 + 0.0 * (sums[0] + sums[1]);
            to.halves = [to.scale * sums[0], to.scale * sums[1]];
            to.sum = to.scale * (sums[0] + sums[1]);
        }
    }
}
