//! Activations rounded to bytes, for products with quantised weights.
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x8};
use rayon::prelude::*;

use super::is_shared;
use super::level::{self, Dot, Kernel};

/// Columns that share a scale.
pub(super) const GROUP: usize = 32;

/// Numbers that are worth waking another thread for.
const WORTH: usize = 1 << 16;

/// Rows of bytes, each group of 32 with a scale: an entry is `scale·code`.
pub(super) struct Activations {
    /// Groups of a row.
    pub(super) groups: usize,
    rows: Vec<Rounded>,
}

/// 32 columns of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rounded {
    pub(super) codes: [i8; GROUP],
    /// The sum of the first 16 entries four times, then that of the last 16.
    pub(super) sums: [f32; 8],
    pub(super) scale: f32,
}

impl Activations {
    /// Rounds rows of so many columns, whole groups of them.
    pub(super) fn new(x: &[f32], columns: usize) -> Self {
        let groups = columns / GROUP;
        let mut rows = vec![Rounded::default(); x.len() / GROUP];
        let each = rows.chunks_mut(groups).zip(x.chunks(columns));
        if is_shared(x.len(), WORTH) {
            each.collect::<Vec<_>>().into_par_iter().for_each(|(to, x)| level::run(Round { x, to }));
        } else {
            each.for_each(|(to, x)| level::run(Round { x, to }));
        }
        Self { groups, rows }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len() / self.groups
    }

    pub(super) fn row(&self, row: usize) -> &[Rounded] {
        &self.rows[row * self.groups..(row + 1) * self.groups]
    }
}

struct Round<'a> {
    x: &'a [f32],
    to: &'a mut [Rounded],
}

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        for (x, to) in self.x.as_chunks::<GROUP>().0.iter().zip(self.to) {
            let mut largest = f32x8::splat(simd, 0.0);
            let mut unsound = f32x8::splat(simd, 0.0);
            for x in x.as_chunks::<8>().0 {
                let x = f32x8::from_slice(simd, x);
                largest = largest.max(x.abs());
                // What is not finite must not vanish: zero times it is NaN, and makes all of the group so.
                unsound = x.mul_add(0.0, unsound);
            }
            let largest = largest.reduce_max();
            to.scale = largest / 127.0 + unsound.reduce_sum();
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut sums = [0; 2];
            for (i, (x, codes)) in
                x.as_chunks::<16>().0.iter().zip(to.codes.as_chunks_mut::<16>().0).enumerate()
            {
                for (x, code) in x.iter().zip(codes) {
                    // Adding this leaves the nearest integer in the low bits; its size is 127 at most.
                    let rounded = (x * inverse + 12_582_912.0).to_bits() as i8;
                    *code = rounded;
                    sums[i] += i32::from(rounded);
                }
            }
            for (i, sum) in to.sums.iter_mut().enumerate() {
                *sum = to.scale * sums[i / 4] as f32;
            }
        }
    }
}
