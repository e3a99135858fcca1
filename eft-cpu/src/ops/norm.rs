use fearless_simd::Simd;

use super::dot;
use crate::level::{self, Dot, Kernel};

/// Root mean square normalisation: divides each consecutive run of `weight.len()` entries by its root mean square, and
/// multiplies it by `weight`.
///
/// ```
/// assert_eq!(eft_cpu::ops::rms_norm(&[3.0, 3.0], &[1.0, 2.0], 0.0), [1.0, 2.0]);
/// ```
///
/// # Panics
/// If `weight` is empty.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    level::run(RmsNorm { x, weight, epsilon, out: &mut out });
    out
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let inverse = 1.0 / (dot(simd, x, x) / width as f32 + self.epsilon).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * inverse * weight;
            }
        }
    }
}
