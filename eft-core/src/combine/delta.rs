use crate::Source;
use crate::backend::Backend;

/// `base + α·(tuned − untuned)`: emulated fine-tuning, and proxy-tuning.
///
/// With a large base and a small pair it up-scales a small model's fine-tuning; with a small base and a large pair
/// it down-scales. α = 1 is the paper's; proxy-tuning sweeps 0.2 to 2.0. α = 0 is the base, exactly and at its cost;
/// a base that is the untuned model leaves the tuned one at α = 1.
///
/// Mitchell et al. 2023, arXiv 2310.12962; Liu et al. 2024, arXiv 2401.08565.
pub fn delta<B: Backend>(base: &Source<B>, tuned: &Source<B>, untuned: &Source<B>, alpha: f32) -> Source<B> {
    Source::sum(vec![(1.0, base.clone()), (alpha, tuned.clone()), (-alpha, untuned.clone())])
}
