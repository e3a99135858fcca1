//! Products that are computed for a few outputs at a time, so that activations are read once for all of these.

/// Where memory is asked for while the weights of `N` outputs are read side by side: a number of bytes ahead in each, and from their
/// ends on in the next `N`. It may be past the end of all weights.
pub(super) struct Ahead<const N: usize> {
    first: *const u8,
    /// The bytes of an output.
    bytes: usize,
    /// The place in an output.
    within: usize,
    /// From the first output that is read now to the first of those that are asked for, in bytes.
    to: usize,
}

impl<const N: usize> Ahead<N> {
    fn new(outputs: &[&[u8]; N], ahead: usize) -> Self {
        let bytes = outputs[0].len();
        Self { first: outputs[0].as_ptr(), bytes, within: ahead % bytes, to: ahead / bytes * N * bytes }
    }

    /// The address to ask for in output `n`, some bytes further.
    #[inline(always)]
    pub(super) fn at(&self, n: usize, further: usize) -> *const u8 {
        self.first.wrapping_add(self.to + n * self.bytes + self.within + further)
    }

    /// Moves on by `step` bytes of each output, or by all of a shorter one.
    #[inline(always)]
    pub(super) fn advance(&mut self, step: usize) {
        self.within += step.min(self.bytes);
        if self.within >= self.bytes {
            (self.within, self.to) = (self.within - self.bytes, self.to + N * self.bytes);
        }
    }
}

/// Calls `sums` with the weights of `N` outputs at a time, of `bytes` bytes each, which returns their products with `M` rows. Memory
/// is asked for `ahead` bytes ahead. If fewer than `N` outputs are left, the last one is computed several times. Products for which
/// `out` has no row are dropped.
#[inline(always)]
pub(super) fn several<const N: usize, const M: usize>(
    weights: &[u8],
    bytes: usize,
    ahead: usize,
    out: &mut [&mut [f32]],
    sums: impl Fn(&[&[u8]; N], Ahead<N>) -> [[f32; N]; M],
) {
    let count = weights.len() / bytes;
    for first in (0..count).step_by(N) {
        let mut outputs: [&[u8]; N] = [&[]; N];
        for (n, output) in outputs.iter_mut().enumerate() {
            *output = &weights[(first + n).min(count - 1) * bytes..][..bytes];
        }
        let sums = sums(&outputs, Ahead::new(&outputs, ahead));
        for (out, sums) in out.iter_mut().zip(&sums) {
            for (n, sum) in sums.iter().enumerate() {
                out[(first + n).min(count - 1)] = *sum;
            }
        }
    }
}
