use super::Rule;
use crate::backend::{Backend, ScoreRow, Term};
use crate::{Error, Result, Source};

/// `sure` where its likeliest token has a probability of at least γ, else `unsure`: nudging takes the base model
/// where it is certain and the tuned small model where it is not.
///
/// Fei et al. 2024, arXiv 2410.09300.
///
/// # Errors
/// [`Error::InvalidParameter`] unless γ is from 0 to 1.
pub fn gate<B: Backend>(sure: &Source<B>, unsure: &Source<B>, gamma: f32) -> Result<Source<B>> {
    if !(0.0..=1.0).contains(&gamma) {
        return Err(Error::parameter("gamma", gamma, "from 0 to 1"));
    }
    Source::rule(Gate { threshold: gamma.ln() }, [sure.clone(), unsure.clone()])
}

struct Gate {
    /// A log-probability.
    threshold: f32,
}

impl<B: Backend> Rule<B> for Gate {
    fn name(&self) -> String {
        format!("gate[{}]", self.threshold.exp())
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let [sure, unsure] = parts else {
            return Err(Error::shape("parts of gate", 2, parts.len()));
        };
        // One probability a row crosses to the host; the rows themselves stay.
        let picks = backend.argmax(sure, width)?;
        let rows = picks.iter().zip(sure.iter().zip(unsure)).map(|(pick, (sure, unsure))| {
            // A row that is unsound must come out so: it is not "unsure".
            if pick.log_prob >= self.threshold || pick.log_prob.is_nan() { *sure } else { *unsure }
        });
        backend.linear(&[Term { weight: 1.0, rows: rows.collect() }], width)
    }
}
