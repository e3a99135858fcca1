use super::checks::finite;
use crate::backend::Backend;
use crate::{Result, Source};

/// Returns `(1 − λ)·reference + λ·aligned`: decoding-time realignment, which changes the strength of alignment without
/// training again. λ may exceed 1.
///
/// Liu et al. 2024 (DeRa), arXiv 2402.02992.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (reference, aligned) = (model("reference"), model("aligned"));
/// let stronger = combine::realign(&reference, &aligned, 1.5)?;
/// assert_eq!(stronger.to_string(), "−0.5·reference + 1.5·aligned");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if λ is not finite.
pub fn realign<B: Backend>(reference: &Source<B>, aligned: &Source<B>, lambda: f32) -> Result<Source<B>> {
    let lambda = finite("lambda", lambda)?;
    Ok(Source::sum(vec![(1.0 - lambda, reference.clone()), (lambda, aligned.clone())]))
}
