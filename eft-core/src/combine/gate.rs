use crate::backend::{Backend, ScoreRow, Term};
use crate::source::Rule;
use crate::{Error, Result, Source};

/// Returns a source that equals `sure` at positions where `max π_sure ≥ γ`, and `unsure` elsewhere.
///
/// Nudging keeps the base model where it is certain, and takes the small tuned model where it is not. Fei et al. 2024,
/// arXiv 2410.09300.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (base, tuned) = (model("base"), model("tuned"));
/// let nudged = combine::gate(&base, &tuned, 0.4)?;
/// assert_eq!(nudged.to_string(), "gate(base, tuned, gamma=0.4)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`] unless γ is between 0 and 1.
pub fn gate<B: Backend>(sure: &Source<B>, unsure: &Source<B>, gamma: f32) -> Result<Source<B>> {
    if !(0.0..=1.0).contains(&gamma) {
        return Err(Error::parameter("gamma", gamma, "from 0 to 1"));
    }
    Source::rule(Gate { gamma }, [sure.clone(), unsure.clone()])
}

struct Gate {
    gamma: f32,
}

impl<B: Backend> Rule<B> for Gate {
    fn name(&self) -> String {
        "gate".into()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("gamma", self.gamma.to_string())]
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let [sure, unsure] = parts else {
            return Err(Error::shape("parts of gate", 2, parts.len()));
        };
        // Only one probability for each score row is downloaded.
        let (threshold, picks) = (self.gamma.ln(), backend.argmax(sure, width)?);
        let rows = picks.iter().zip(sure.iter().zip(unsure)).map(|(pick, (sure, unsure))| {
            // A score row that holds NaN must be reported as such; it is not "unsure".
            if pick.log_prob >= threshold || pick.log_prob.is_nan() { *sure } else { *unsure }
        });
        backend.linear(&[Term { weight: 1.0, rows: rows.collect() }], width)
    }
}
