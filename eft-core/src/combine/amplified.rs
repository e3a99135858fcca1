use crate::Source;
use crate::backend::Backend;

/// `tuned + β·(base − untuned)`: the small tuned model with β times what scale adds.
///
/// Equals [`delta`](super::delta) at α = β = 1 and nowhere else. Mitchell et al. 2023, arXiv 2310.12962.
pub fn amplified_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    beta: f32,
) -> Source<B> {
    Source::sum(vec![(1.0, tuned.clone()), (beta, base.clone()), (-beta, untuned.clone())])
}
