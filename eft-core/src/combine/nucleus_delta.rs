use super::checks::finite;
use crate::backend::{Backend, Filter, ScoreRow, Term, score_rows};
use crate::source::Rule;
use crate::{Error, Result, Source};

/// Returns `log π_tuned + β·(log π_base − log π_untuned)` inside the tuned model's nucleus of mass `p`, and
/// `log π_tuned` outside of it: up-scaling that does not move tokens which the tuned model finds improbable.
///
/// The nucleus is taken at temperature 1, whatever temperature is sampled at later. At β = 0 this is the tuned model.
/// Mitchell et al. 2023, arXiv 2310.12962, §4.5.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (large, tuned, small) = (model("large"), model("tuned"), model("small"));
/// let careful = combine::nucleus_delta(&large, &tuned, &small, 1.0, 0.9)?;
/// assert_eq!(careful.to_string(), "nucleus_delta(tuned, large, small, beta=1, p=0.9)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`] unless 0 < `p` ≤ 1 and β is finite.
pub fn nucleus_delta<B: Backend>(
    base: &Source<B>,
    tuned: &Source<B>,
    untuned: &Source<B>,
    beta: f32,
    p: f32,
) -> Result<Source<B>> {
    if !(p > 0.0 && p <= 1.0) {
        return Err(Error::parameter("p", p, "above 0 and at most 1"));
    }
    let nucleus = Filter { top_p: Some(p), ..Filter::default() };
    finite("beta", beta)?;
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
        "nucleus_delta".into()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("beta", self.beta.to_string()), ("p", self.nucleus.top_p.unwrap_or(1.0).to_string())]
    }

    fn weight(&self, part: usize) -> Option<f32> {
        // Inside of the nucleus.
        [1.0, self.beta, -self.beta].get(part).copied()
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
