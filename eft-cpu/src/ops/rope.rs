use fearless_simd::Simd;

use crate::level::{self, Dot, Kernel};

/// Rotates the first `2·width` channels of each head: channel `i` is paired with channel `i + width`. `x` has rows of
/// `columns` entries, made of heads of width `head`; `cos` and `sin` have one row of `width` angles for each row of
/// `x`.
///
/// ```
/// // One head of four channels: channel 0 is rotated with channel 2 by 90°, channel 1 with channel 3 not at all.
/// let rotated = eft_cpu::ops::rope(&[1.0, 2.0, 3.0, 4.0], 4, 4, &[0.0, 1.0], &[1.0, 0.0], 2);
/// assert_eq!(rotated, [-3.0, 2.0, 1.0, 4.0]);
/// ```
///
/// # Panics
/// If `head`, `columns` or `width` is 0, or if a head is narrower than `width`.
pub fn rope(x: &[f32], head: usize, columns: usize, cos: &[f32], sin: &[f32], width: usize) -> Vec<f32> {
    let mut out = x.to_vec();
    level::run(Rope { out: &mut out, head, columns, cos, sin, width });
    out
}

struct Rope<'a> {
    out: &'a mut [f32],
    head: usize,
    columns: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    width: usize,
}

impl Kernel for Rope<'_> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, _: S) {
        let angles = self.cos.chunks_exact(self.width).zip(self.sin.chunks_exact(self.width));
        for (row, (cos, sin)) in self.out.chunks_exact_mut(self.columns).zip(angles) {
            for head in row.chunks_exact_mut(self.head) {
                let (first, rest) = head.split_at_mut(self.width);
                for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}
