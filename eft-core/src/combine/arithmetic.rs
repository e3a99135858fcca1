use crate::backend::Backend;
use crate::source::Node;
use crate::{Error, Result, Source};

/// `Σ fᵢ·log Qᵢ / Σ fᵢ`: a formula of model arithmetic, normalised once, over the terms that are left when nested
/// sums are written out.
///
/// Emulated fine-tuning's weights sum to 1, so it is unaffected. Dekoninck et al. 2023, arXiv 2311.14479.
///
/// # Errors
/// [`Error::InvalidParameter`] unless the sum is finite and above 0: a negative one would turn every preference
/// around.
pub fn arithmetic<B: Backend>(formula: &Source<B>) -> Result<Source<B>> {
    let total = total_weight(formula, 1.0);
    // Sums such as 0.1 + 0.2 − 0.3 are not exactly 0.
    if !(total.is_finite() && total > 1e-6) {
        return Err(Error::parameter("sum of the formula's weights", total, "a finite number above 0"));
    }
    Ok(Source::sum(vec![((1.0 / total) as f32, formula.clone())]))
}

fn total_weight<B: Backend>(source: &Source<B>, weight: f64) -> f64 {
    match source.node() {
        Node::Sum(terms) => terms.iter().map(|(w, s)| total_weight(s, weight * f64::from(*w))).sum(),
        Node::Under(_, inner) => total_weight(inner, weight),
        Node::Leaf(_) | Node::Opaque(_) | Node::Rule(..) => weight,
    }
}
