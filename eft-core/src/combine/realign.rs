use crate::Source;
use crate::backend::Backend;

/// `(1 − λ)·reference + λ·aligned`: decoding-time realignment, another strength of alignment without training
/// again. λ may exceed 1.
///
/// Liu et al. 2024 (DeRa), arXiv 2402.02992.
pub fn realign<B: Backend>(reference: &Source<B>, aligned: &Source<B>, lambda: f32) -> Source<B> {
    Source::sum(vec![(1.0 - lambda, reference.clone()), (lambda, aligned.clone())])
}
