//! The operations between products, over rows in main memory.
mod attention;
mod gate;
mod norm;
mod rope;

pub(crate) use attention::{RowCache, attend};
pub(crate) use gate::gated;
pub(crate) use norm::rms_norm;
pub(crate) use rope::rope;

use fearless_simd::{Simd, SimdBase, SimdFloat, f32x8};

/// `Σ aᵢ·bᵢ`.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    // Two sums, so that one product need not wait for the one before.
    let mut sums = [f32x8::splat(simd, 0.0); 2];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        sums[i % 2] = f32x8::from_slice(simd, a).mul_add(f32x8::from_slice(simd, b), sums[i % 2]);
    }
    let mut sum = (sums[0] + sums[1]).reduce_sum();
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum += a * b;
    }
    sum
}
