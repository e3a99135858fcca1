use crate::backend::{Backend, Filter, ScoreRow, score_rows};
use crate::source::Rule;
use crate::{Error, Result, Source};

/// Returns `source`, restricted to the tokens that `expert` finds plausible: `π_expert(token) ≥ α · max π_expert`.
///
/// At α = 0 this is `source` unchanged. The constraint of contrastive decoding: Li et al. 2022, arXiv 2210.15097.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (expert, amateur) = (model("expert"), model("amateur"));
/// let contrastive = combine::plausibility(&(&expert - &amateur), &expert, 0.1)?;
/// assert_eq!(contrastive.to_string(), "plausibility(expert − amateur, expert, alpha=0.1)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`] unless α is between 0 and 1.
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
        "plausibility".into()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("alpha", self.alpha.to_string())]
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let [source, expert] = parts else {
            return Err(Error::shape("parts of plausibility", 2, parts.len()));
        };
        // The constraint is the min-p filter, applied to the expert.
        let plausible = Filter { min_p: Some(self.alpha), ..Filter::default() };
        let kept = backend.filter(expert, &plausible, width)?;
        backend.choose(&score_rows(&kept, expert.len()), source, None, width)
    }
}
