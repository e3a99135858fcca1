use crate::Source;
use crate::backend::Backend;

/// `base + Σₖ λₖ·(tunedₖ − untunedₖ)`: several behaviours mixed at test time, each at a strength of its own.
///
/// To interpolate between two, give them λ and 1 − λ. Behaviours tuned from one small model share its forward pass:
/// a base and two behaviours cost four passes, not five. Mitchell et al. 2023, arXiv 2310.12962, §4.3.
pub fn multi_objective<'a, B: Backend>(
    base: &Source<B>,
    behaviours: impl IntoIterator<Item = (f32, &'a Source<B>, &'a Source<B>)>,
) -> Source<B> {
    let mut terms = vec![(1.0, base.clone())];
    for (lambda, tuned, untuned) in behaviours {
        terms.extend([(lambda, tuned.clone()), (-lambda, untuned.clone())]);
    }
    Source::sum(terms)
}
