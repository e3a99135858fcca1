use super::Rule;
use crate::backend::{Backend, Filter, ScoreRow, score_rows};
use crate::{Error, Result, Source};

/// `source` on the tokens that `expert` finds plausible, `log p ≥ log α + max log p`, and nothing else.
///
/// Li et al. 2022 (contrastive decoding), arXiv 2210.15097: `plausibility(&(&expert - &amateur), &expert, 0.1)`.
///
/// # Errors
/// [`Error::InvalidParameter`] unless α is from 0 to 1.
pub fn plausibility<B: Backend>(source: &Source<B>, expert: &Source<B>, alpha: f32) -> Result<Source<B>> {
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::parameter("alpha", alpha, "from 0 to 1"));
    }
    if alpha == 0.0 {
        return Ok(source.clone());
    }
    Source::rule(Plausibility { alpha }, [source.clone(), expert.clone()])
}

struct Plausibility {
    alpha: f32,
}

impl<B: Backend> Rule<B> for Plausibility {
    fn name(&self) -> String {
        format!("plausibility[{}]", self.alpha)
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let [source, expert] = parts else {
            return Err(Error::shape("parts of plausibility", 2, parts.len()));
        };
        // The condition is min-p, on the expert.
        let plausible = Filter { min_p: Some(self.alpha), ..Filter::default() };
        let kept = backend.filter(expert, &plausible, width)?;
        backend.choose(&score_rows(&kept, expert.len()), source, None, width)
    }
}
