use super::checks::finite;
use crate::backend::Backend;
use crate::{Result, Source};

/// `tuned + β·(base − untuned)`: the small tuned model, plus β times the difference of the large and the small untuned
/// model.
///
/// Equals [`delta`](super::delta) at α = β = 1 and nowhere else. Mitchell et al. 2023, arXiv 2310.12962.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (large, tuned, small) = (model("large"), model("tuned"), model("small"));
/// let amplified = combine::amplified_delta(&large, &tuned, &small, 1.5)?;
/// assert_eq!(amplified.to_string(), "tuned + 1.5·large − 1.5·small");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if β is not finite.
pub fn amplified_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    beta: f32,
) -> Result<Source<B>> {
    let beta = finite("beta", beta)?;
    Ok(Source::sum(vec![(1.0, tuned.clone()), (beta, base.clone()), (-beta, untuned.clone())]))
}
