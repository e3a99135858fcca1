use crate::backend::Backend;
use crate::source::check_weight;
use crate::{Error, Result, Source};

/// Returns `Σ fᵢ·log Qᵢ / Σ fᵢ`: a formula of model arithmetic, normalised by the sum of its weights once all nested
/// sums are written out.
///
/// The weights of emulated fine-tuning sum to 1, so it is unaffected. Dekoninck et al. 2023, arXiv 2311.14479.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (formal, friendly) = (model("formal"), model("friendly"));
/// let mixed = combine::arithmetic(&(&formal + 3.0 * &friendly))?;
/// assert_eq!(mixed.to_string(), "0.25·(formal + 3·friendly)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// * [`Error::InvalidParameter`] unless the sum of the weights is finite and above 0: dividing by a negative one would
///   reverse every preference.
/// * [`Error::InvalidWeight`] if a weight is not a finite number.
/// * [`Error::TooComplex`] if the formula is too large.
pub fn arithmetic<B: Backend>(formula: &Source<B>) -> Result<Source<B>> {
    let mut total = 0.0;
    for term in formula.terms()? {
        check_weight(term.weight, term.source)?;
        total += term.weight;
    }
    // Sums such as 0.1 + 0.2 − 0.3 are not exactly 0.
    if !(total.is_finite() && total > 1e-6) {
        return Err(Error::parameter("sum of the formula's weights", total, "a finite number above 0"));
    }
    Ok(formula.times(1.0 / total))
}
