use super::checks::finite;
use crate::backend::Backend;
use crate::{PromptTransform, Result, Source};

/// Returns `(1 + γ)·model(with) − γ·model`: one model under two prompts, moved away from the plain one. Classifier-free
/// guidance and context-aware contrast have this form.
///
/// Both prompts run as rows of one forward pass. Sanchez et al. 2023, arXiv 2306.17806.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, PromptTransform, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0])).named("model");
/// let guided = combine::guidance(&model, PromptTransform::system("Answer as a pirate."), 0.5)?;
/// assert_eq!(guided.to_string(), "1.5·under(\"Answer as a pirate.\", model) − 0.5·model");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if γ is not finite.
pub fn guidance<B: Backend>(model: &Source<B>, with: PromptTransform, gamma: f32) -> Result<Source<B>> {
    let gamma = finite("gamma", gamma)?;
    Ok(Source::sum(vec![(1.0 + gamma, model.under(with)), (-gamma, model.clone())]))
}
