use crate::backend::Backend;
use crate::source::check_weight;
use crate::{Error, Result, Source};

/// Returns `Σ wᵢ·ℓᵢ`, without scaling the weights: a logarithmic opinion pool, and multi-objective decoding under
/// reverse KL.
///
/// Shi et al. 2024 (MOD), arXiv 2406.18853.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (helpful, harmless) = (model("helpful"), model("harmless"));
/// let both = combine::weighted([(0.7, &helpful), (0.3, &harmless)])?;
/// assert_eq!(both.to_string(), "0.7·helpful + 0.3·harmless");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// * [`Error::Shape`] if there are no terms.
/// * [`Error::InvalidWeight`] if a weight is not a finite number.
pub fn weighted<'a, B: Backend>(terms: impl IntoIterator<Item = (f32, &'a Source<B>)>) -> Result<Source<B>> {
    let terms: Vec<_> = terms.into_iter().map(|(w, s)| (f64::from(w), s.clone())).collect();
    if terms.is_empty() {
        return Err(Error::shape("terms of a weighted ensemble", "at least one", 0));
    }
    terms.iter().try_for_each(|(weight, source)| check_weight(*weight, source))?;
    Ok(Source::sum(terms))
}

/// Returns `Σ wᵢ·ℓᵢ / Σ wᵢ`, with the weights scaled to a sum of 1, so the result is a geometric mean of the models'
/// distributions.
///
/// Hinton 2002, *Training products of experts by minimizing contrastive divergence*.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (first, second) = (model("first"), model("second"));
/// let mean = combine::product_of_experts([(1.0, &first), (3.0, &second)])?;
/// assert_eq!(mean.to_string(), "0.25·first + 0.75·second");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// * [`Error::Shape`] if there are no terms.
/// * [`Error::InvalidParameter`] unless the sum of the weights is finite and above 0.
pub fn product_of_experts<'a, B: Backend>(
    terms: impl IntoIterator<Item = (f32, &'a Source<B>)>,
) -> Result<Source<B>> {
    let terms: Vec<_> = terms.into_iter().collect();
    let total: f32 = terms.iter().map(|(w, _)| w).sum();
    let usable = total.is_finite() && total > 0.0;
    if !usable && !terms.is_empty() {
        return Err(Error::parameter("sum of the weights", total, "a finite number above 0"));
    }
    weighted(terms.into_iter().map(|(w, s)| (w / total, s)))
}
