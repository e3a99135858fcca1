use super::checks::convex;
use super::power_mean::Pooled;
use crate::backend::{Backend, Pool};
use crate::{Result, Source};

/// Returns `log Σ wᵢ·πᵢ`: a mixture of the models' distributions, in which a token that any model favours stays likely.
///
/// Ormazabal et al. 2023 (CombLM), arXiv 2305.16876.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (general, medical) = (model("general"), model("medical"));
/// let mixed = combine::mixture([(0.25, &general), (0.75, &medical)])?;
/// assert_eq!(mixed.to_string(), "mixture(0.25: general, 0.75: medical)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// * [`Error::Shape`](crate::Error::Shape) if there are no terms.
/// * [`Error::InvalidParameter`](crate::Error::InvalidParameter) unless the weights are finite, none is below 0, and
///   their sum is 1.
pub fn mixture<'a, B: Backend>(terms: impl IntoIterator<Item = (f32, &'a Source<B>)>) -> Result<Source<B>> {
    let (weights, parts): (Vec<_>, Vec<_>) = terms.into_iter().map(|(w, s)| (w, s.clone())).unzip();
    convex(&weights)?;
    Pooled { shares: true, ..Pooled::new("mixture", Pool::Power(1.0)) }.source(weights, parts)
}
