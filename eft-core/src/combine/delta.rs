use super::checks::finite;
use crate::backend::Backend;
use crate::{Result, Source};

/// Returns `base + α·(tuned − untuned)`: emulated fine-tuning, also known as proxy-tuning.
///
/// With logits `ℓ`, the next token is drawn from `softmax(ℓ_base + α·(ℓ_tuned − ℓ_untuned))`. With a large base and a
/// small pair this scales a small model's fine-tuning up; with a small base and a large pair it scales down. α = 1 is
/// the setting of the first paper; the second sweeps α from 0.2 to 2.0. At α = 0 only the base runs; if the base is
/// the untuned model itself and α = 1, only the tuned model runs.
///
/// Mitchell et al. 2023, arXiv 2310.12962; Liu et al. 2024, arXiv 2401.08565.
///
/// ```
/// use eft_core::{combine, from_fn, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = |name: &str, logits: [f32; 2]| {
///     from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).named(name)
/// };
/// let (large, tuned, small) = (model("large", [2.0, 0.0]), model("tuned", [0.0, 3.0]), model("small", [1.0, 0.0]));
/// let upscaled = combine::delta(&large, &tuned, &small, 1.0)?;
/// assert_eq!(upscaled.to_string(), "large + tuned − small");
/// assert!(combine::delta(&large, &tuned, &small, f32::NAN).is_err());
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if α is not finite.
pub fn delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    alpha: f32,
) -> Result<Source<B>> {
    let alpha = finite("alpha", alpha)?;
    Ok(Source::sum(vec![(1.0, base.clone()), (alpha, tuned.clone()), (-alpha, untuned.clone())]))
}
