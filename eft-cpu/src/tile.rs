//! Products of columns in f32 with many rows: each output has a lane, so that nothing is added up across lanes.
use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom};

use super::level::Dot;

/// The number of vectors of outputs multiplied at once, and of rows that each is multiplied with: that many sums fit 32 registers. With 16,
/// half as many rows.
pub(crate) const VECTORS: usize = 3;
const ROWS: usize = 8;

/// One column of [`VECTORS`] vectors of outputs.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Column<const LANES: usize>(pub(crate) [[f32; LANES]; VECTORS]);

impl<const LANES: usize> Default for Column<LANES> {
    fn default() -> Self {
        Self([[0.0; LANES]; VECTORS])
    }
}

/// Some columns of up to [`VECTORS`] vectors of outputs.
pub(crate) struct Tile<'a, const LANES: usize> {
    pub(crate) columns: &'a [Column<LANES>],
    /// The first output, and the number of them.
    pub(crate) output: usize,
    pub(crate) count: usize,
    /// Whether products are added to what there is.
    pub(crate) add: bool,
}

impl<const LANES: usize> Tile<'_, LANES> {
    /// Multiplies rows with the columns. A row begins `stride` entries after the one before.
    #[inline(always)]
    pub(crate) fn multiply<S: Simd, D: Dot<S>>(
        &self,
        simd: S,
        x: &[f32],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        let at_once = if D::MANY_REGISTERS { ROWS } else { ROWS / 2 };
        for (i, out) in out.chunks_mut(at_once).enumerate() {
            let x = &x[i * at_once * stride..];
            match (self.count.div_ceil(LANES), out.len() > ROWS / 2) {
                (1, false) => sums::<S, D, LANES, 1, { ROWS / 2 }>(simd, self, x, stride, out),
                (2, false) => sums::<S, D, LANES, 2, { ROWS / 2 }>(simd, self, x, stride, out),
                (_, false) => sums::<S, D, LANES, 3, { ROWS / 2 }>(simd, self, x, stride, out),
                (1, true) => sums::<S, D, LANES, 1, ROWS>(simd, self, x, stride, out),
                (2, true) => sums::<S, D, LANES, 2, ROWS>(simd, self, x, stride, out),
                (_, true) => sums::<S, D, LANES, 3, ROWS>(simd, self, x, stride, out),
            }
        }
    }
}

/// Adds the products of `V` vectors of outputs with up to `M` rows to `out`, or sets them. If there are fewer
/// rows, the last one is multiplied several times.
#[inline(always)]
fn sums<S: Simd, D: Dot<S>, const LANES: usize, const V: usize, const M: usize>(
    simd: S,
    at: &Tile<'_, LANES>,
    x: &[f32],
    stride: usize,
    out: &mut [&mut [f32]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let zero = D::Floats::simd_from(simd, 0.0);
            let mut sums = [[zero; V]; M];
            let mut rows: [&[f32]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = &x[m.min(out.len() - 1) * stride..][..at.columns.len()];
            }
            for (i, column) in at.columns.iter().enumerate() {
                let mut weights = [zero; V];
                for (weights, column) in weights.iter_mut().zip(&column.0) {
                    *weights = D::Floats::from_slice(simd, column);
                }
                for m in 0..M {
                    let x = D::Floats::simd_from(simd, rows[m][i]);
                    for v in 0..V {
                        sums[m][v] = weights[v].mul_add(x, sums[m][v]);
                    }
                }
            }
            for (sums, out) in sums.iter().zip(out) {
                let (vectors, rest) = out[at.output..][..at.count].as_chunks_mut::<LANES>();
                for (sum, out) in sums.iter().zip(&mut *vectors) {
                    let before = if at.add { D::Floats::from_slice(simd, out) } else { zero };
                    (before + *sum).store_slice(out);
                }
                if !rest.is_empty() {
                    let mut last = [0.0; LANES];
                    sums[V - 1].store_slice(&mut last);
                    for (out, sum) in rest.iter_mut().zip(last) {
                        *out = if at.add { *out + sum } else { sum };
                    }
                }
            }
        },
    );
}
