use eft_core::{Backend, Source};
use serde_json::{Value, json};

use super::grader::{Answer, Grade, Grader};
use crate::{Error, Result};

/// Scores an answer `y` to a prompt `x` by `β·[log π_tuned(y | x) − log π_untuned(y | x)]`, in nats: the reward that
/// tuning has maximised, up to a function of the prompt. Rafailov et al. 2023, arXiv 2305.18290, equation 5.
///
/// The two models tokenize the text themselves, so they may have another vocabulary, and run on another backend, than
/// the source that is evaluated. If the text ended by itself, their end-of-sequence token is scored, too.
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
/// use eft_eval::ImplicitReward;
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = |b: f32| from_fn(Host, vocab.clone(), move |_| Ok(vec![0.0, b]));
/// let grader = ImplicitReward::new(&model(1.0), &model(0.0)).beta(0.1);
/// # let _ = grader;
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ImplicitReward<B: Backend> {
    tuned: Source<B>,
    untuned: Source<B>,
    beta: f64,
}

impl<B: Backend> ImplicitReward<B> {
    /// Creates the reward of a tuned model relative to the same model without tuning, with β = 1.
    pub fn new(tuned: &Source<B>, untuned: &Source<B>) -> Self {
        Self { tuned: tuned.clone(), untuned: untuned.clone(), beta: 1.0 }
    }

    /// Sets β, by which the reward is multiplied.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// The log-probability of each answer.
    fn log_probs(&self, source: &Source<B>, answers: &[Answer<'_>]) -> eft_core::Result<Vec<f64>> {
        let pairs = answers.iter().map(|answer| {
            let mut tokens = source.continuation(answer.text)?;
            if answer.ended {
                tokens.extend(source.vocab().eos().first());
            }
            let prompt = answer.item.prompt.clone().unwrap_or_else(|| "".into());
            Ok((prompt, tokens))
        });
        let scored = source.score_batch(pairs.collect::<eft_core::Result<Vec<_>>>()?)?;
        Ok(scored.into_iter().map(|score| score.total).collect())
    }
}

impl<B: Backend> Grader for ImplicitReward<B> {
    fn name(&self) -> String {
        "implicit reward".into()
    }

    fn settings(&self) -> Value {
        json!({ "tuned": self.tuned.to_string(), "untuned": self.untuned.to_string(), "beta": self.beta })
    }

    fn grade(&self, answers: &[Answer<'_>]) -> Result<Vec<Grade>> {
        let failed = |source| Error::Models {
            what: "the answers, which the implicit reward scores".into(),
            source: Box::new(source),
        };
        let tuned = self.log_probs(&self.tuned, answers).map_err(failed)?;
        let untuned = self.log_probs(&self.untuned, answers).map_err(failed)?;
        Ok(tuned
            .iter()
            .zip(untuned)
            .map(|(tuned, untuned)| Grade::new(self.beta * (tuned - untuned)))
            .collect())
    }
}
