use super::checks::finite;
use crate::backend::Backend;
use crate::{Result, Source};

/// Returns `untuned + β·(base − untuned) + α·(tuned − untuned)`: one strength for size and one for tuning.
///
/// β = 1 is [`delta`](super::delta), α = 1 is [`amplified_delta`](super::amplified_delta).
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (large, tuned, small) = (model("large"), model("tuned"), model("small"));
/// let balanced = combine::balanced_delta(&large, &tuned, &small, 0.5, 1.0)?;
/// assert_eq!(balanced.to_string(), "large + 0.5·tuned − 0.5·small");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if α or β is not finite.
pub fn balanced_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    alpha: f32,
    beta: f32,
) -> Result<Source<B>> {
    let (alpha, beta) = (finite("alpha", alpha)?, finite("beta", beta)?);
    let rest = 1.0 - alpha - beta;
    Ok(Source::sum(vec![(beta, base.clone()), (alpha, tuned.clone()), (rest, untuned.clone())]))
}
