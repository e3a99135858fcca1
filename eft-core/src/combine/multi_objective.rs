use super::checks::finite;
use crate::backend::Backend;
use crate::{Result, Source};

/// Returns `base + Σₖ λₖ·(tunedₖ − untunedₖ)`: several behaviours mixed at decoding time, each with its own strength.
///
/// To interpolate between two behaviours, give them λ and 1 − λ. Behaviours that were tuned from one small model share
/// its forward pass: a base and two behaviours cost four rows, not five. Mitchell et al. 2023, arXiv 2310.12962, §4.3.
///
/// The [module](super) has an example.
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if a λ is not finite.
pub fn multi_objective<'a, B: Backend>(
    base: &Source<B>,
    behaviours: impl IntoIterator<Item = (f32, &'a Source<B>, &'a Source<B>)>,
) -> Result<Source<B>> {
    let mut terms = vec![(1.0, base.clone())];
    for (lambda, tuned, untuned) in behaviours {
        let lambda = finite("lambda", lambda)?;
        terms.extend([(lambda, tuned.clone()), (-lambda, untuned.clone())]);
    }
    Ok(Source::sum(terms))
}
