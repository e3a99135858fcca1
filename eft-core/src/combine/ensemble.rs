use crate::backend::Backend;
use crate::{Error, Result, Source};

/// `Σ wᵢ·ℓᵢ` with weights as they are: the logarithmic pool, multi-objective decoding under reverse KL.
///
/// # Errors
/// [`Error::Shape`] without terms.
pub fn weighted<'a, B: Backend>(terms: impl IntoIterator<Item = (f32, &'a Source<B>)>) -> Result<Source<B>> {
    let terms: Vec<_> = terms.into_iter().map(|(w, s)| (w, s.clone())).collect();
    if terms.is_empty() {
        return Err(Error::shape("terms of a weighted ensemble", "at least one", 0));
    }
    Ok(Source::sum(terms))
}

/// `Σ wᵢ·ℓᵢ` with the weights scaled to a sum of 1: the geometric mean of the models' distributions.
///
/// # Errors
/// [`Error::Shape`] without terms, [`Error::InvalidParameter`] unless the weights sum to a finite number above 0.
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
