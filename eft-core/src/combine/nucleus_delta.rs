use super::Rule;
use crate::backend::{Backend, Filter, ScoreRow, Term, score_rows};
use crate::{Error, Result, Source};

/// Conservative up-scaling: `log π_tuned + β·(log π_base − log π_untuned)` inside the tuned model's nucleus of mass
/// `p`, and `log π_tuned` outside it.
///
/// The nucleus is taken at temperature 1, whatever is sampled at later. Where the tuned model is sure, scale has no
/// say over improbable tokens. Mitchell et al. 2023, arXiv 2310.12962, §4.5.
///
/// # Errors
/// [`Error::InvalidParameter`] unless `p` is above 0 and at most 1, and β finite.
pub fn nucleus_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    beta: f32,
    p: f32,
) -> Result<Source<B>> {
    let nucleus = Filter { top_p: Some(p), ..Filter::default() };
    nucleus.validate()?;
    if !beta.is_finite() {
        return Err(Error::parameter("beta", beta, "a finite number"));
    }
    if beta == 0.0 {
        return Ok(tuned.clone());
    }
    Source::rule(NucleusDelta { beta, nucleus }, [tuned.clone(), base.clone(), untuned.clone()])
}

struct NucleusDelta {
    beta: f32,
    nucleus: Filter,
}

impl<B: Backend> Rule<B> for NucleusDelta {
    fn name(&self) -> String {
        format!("nucleus_delta[β={}, p={}]", self.beta, self.nucleus.top_p.unwrap_or(1.0))
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let [tuned, base, untuned] = parts else {
            return Err(Error::shape("parts of nucleus_delta", 3, parts.len()));
        };
        let weighted = [(1.0, tuned), (self.beta, base), (-self.beta, untuned)];
        let terms = weighted.map(|(weight, rows)| Term { weight, rows: rows.clone() });
        let upscaled = backend.linear(&terms, width)?;
        let kept = backend.filter(tuned, &self.nucleus, width)?;
        backend.choose(
            &score_rows(&kept, tuned.len()),
            &score_rows(&upscaled, tuned.len()),
            Some(tuned),
            width,
        )
    }
}
