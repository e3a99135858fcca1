use super::convex;
use super::power_mean::Pooled;
use crate::backend::{Backend, Pool};
use crate::{Result, Source};

/// `log Σ wᵢ·πᵢ`: the linear pool, where a token that any model likes stays likely.
///
/// Ormazabal et al. 2023 (CombLM), arXiv 2305.16876.
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) unless the weights are convex: none below 0, with a
/// sum of 1.
pub fn mixture<'a, B: Backend>(terms: impl IntoIterator<Item = (f32, &'a Source<B>)>) -> Result<Source<B>> {
    let (weights, parts): (Vec<_>, Vec<_>) = terms.into_iter().map(|(w, s)| (w, s.clone())).unzip();
    convex(&weights)?;
    Pooled::source(format!("mixture{weights:?}"), Pool::Power(1.0), weights, parts)
}
