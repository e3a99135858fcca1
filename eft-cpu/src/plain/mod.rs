//! Products with weights in f32, f16 and bf16.
mod entry;
mod few_rows;
mod many_rows;

pub(super) use entry::F32;
pub(super) use many_rows::product_in;

use std::ops::Range;

use eft_models::Dtype;
use fearless_simd::Simd;

use super::level::{Dot, Kernel};
use entry::{BF16, Entry, F16};

/// Up to this many rows, weights are read once and converted to f32 in registers, and what a row yields does not depend, to the last bit, on
/// how many rows there are. For more rows, weights are converted to a tile in memory, and terms are added up in another order: that is faster,
/// from 17 rows on already, but a token would then differ by rounding where a draft of 16 tokens is verified, or 32 texts go on together.
const FEW_ROWS: usize = 32;

/// The product of all rows with the weights of a range of outputs.
pub(super) struct Product<'a, 'out> {
    pub(super) dtype: Dtype,
    pub(super) weights: &'a [u8],
    pub(super) x: &'a [f32],
    pub(super) columns: usize,
    pub(super) outputs: Range<usize>,
    /// For each row, the part that holds these outputs.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        match self.dtype {
            Dtype::F16 => self.of_type::<S, D, F16, 2>(simd),
            Dtype::BF16 => self.of_type::<S, D, BF16, 2>(simd),
            Dtype::F32 | Dtype::Quantised(_) => self.of_type::<S, D, F32, 4>(simd),
        }
    }
}

impl Product<'_, '_> {
    #[inline(always)]
    fn of_type<S: Simd, D: Dot<S>, E: Entry<SIZE>, const SIZE: usize>(self, simd: S) {
        let Self { weights, x, columns, outputs, out, .. } = self;
        let weights = &weights.as_chunks().0[outputs.start * columns..outputs.end * columns];
        match (out.len() <= FEW_ROWS, D::GROUPS) {
            (true, 1) => few_rows::product::<S, D, E, SIZE, 8>(simd, weights, x, columns, out),
            (true, _) => few_rows::product::<S, D, E, SIZE, 16>(simd, weights, x, columns, out),
            (false, 1) => many_rows::product::<S, D, E, SIZE, 8>(simd, weights, x, columns, out),
            (false, _) => many_rows::product::<S, D, E, SIZE, 16>(simd, weights, x, columns, out),
        }
    }
}
