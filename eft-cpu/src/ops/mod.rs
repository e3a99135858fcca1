//! The operations between matrix products, on rows in main memory.
mod attend;
mod attention;
mod gate;
mod heads;
mod many_queries;
mod norm;
mod pages;
mod rope;
mod row_cache;
mod stored;

pub use attend::{NewTokens, attend};
pub use gate::gated;
pub use heads::Heads;
pub use norm::rms_norm;
pub use rope::rope;
pub use row_cache::RowCache;
pub use stored::CacheType;

use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdSplit, f32x4, f32x8, f64x2};

/// `Σ aᵢ·bᵢ`.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    // Two sums, so that consecutive products do not depend on each other.
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

/// Returns the sums of four vectors. Summing them together takes half as many instructions as summing them one by one.
#[inline(always)]
fn sum_of_each<S: Simd>([a, b, c, d]: [f32x8<S>; 4]) -> f32x4<S> {
    let ((a, a_high), (b, b_high)) = (a.split(), b.split());
    let ((c, c_high), (d, d_high)) = (c.split(), d.split());
    let (a, b, c, d) = (a + a_high, b + b_high, c + c_high, d + d_high);
    // Interleave two lanes of each vector.
    let first = (a.zip_low(b) + a.zip_high(b)).bitcast::<f64x2<S>>();
    let last = (c.zip_low(d) + c.zip_high(d)).bitcast::<f64x2<S>>();
    first.zip_low(last).bitcast::<f32x4<S>>() + first.zip_high(last).bitcast::<f32x4<S>>()
}
