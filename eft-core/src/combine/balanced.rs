use crate::Source;
use crate::backend::Backend;

/// `untuned + β·(base − untuned) + α·(tuned − untuned)`: both strengths at once, of scale and of tuning.
///
/// β = 1 is [`delta`](super::delta), α = 1 is [`amplified_delta`](super::amplified_delta).
pub fn balanced_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    alpha: f32,
    beta: f32,
) -> Source<B> {
    Source::sum(vec![(beta, base.clone()), (alpha, tuned.clone()), (1.0 - alpha - beta, untuned.clone())])
}
