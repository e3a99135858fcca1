use crate::backend::Backend;
use crate::{PromptTransform, Source};

/// `(1 + γ)·model(with) − γ·model`: one model under two prompts, away from the plain one. Context contrast and
/// classifier-free guidance are this.
///
/// Both prompts run as rows of one forward pass. Sanchez et al. 2023, arXiv 2306.17806.
pub fn guidance<B: Backend>(model: &Source<B>, with: PromptTransform, gamma: f32) -> Source<B> {
    Source::sum(vec![(1.0 + gamma, model.under(with)), (-gamma, model.clone())])
}
