use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eft_core::combine::{MixtureFeatures, MixtureWeights, Rule};
use eft_core::{Backend, Prompt, ScoreRow, Source, Term, TokenId};

use super::{Error, Result};

/// What several sources say about the tokens of some texts.
///
/// The [module](super) has an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    sources: usize,
    features: MixtureFeatures,
    tokens: Vec<ObservedToken>,
}

/// What several sources say about one token.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ObservedToken {
    /// The index of the text.
    pub text: usize,
    /// The features at the position of the token: see [`MixtureFeatures::of`].
    pub features: Vec<f64>,
    /// The log-probability of the token in each source, in nats, over the tokens that all sources share.
    pub log_probs: Vec<f64>,
}

impl Observations {
    /// Runs the sources on texts: prompts, and the tokens that follow them.
    ///
    /// # Errors
    /// [`Error::Core`] with any error of [`Source::score`], or if there are no sources.
    pub fn of<'a, B: Backend, P: Into<Prompt>>(
        sources: impl IntoIterator<Item = &'a Source<B>>,
        features: MixtureFeatures,
        texts: impl IntoIterator<Item = (P, Vec<TokenId>)>,
    ) -> Result<Self> {
        let sources: Vec<_> = sources.into_iter().cloned().collect();
        let count = sources.len();
        let seen = Arc::new(Mutex::new(Seen::default()));
        // A rule sees the distributions exactly as the rule of a learned mixture will.
        let recorder = Source::rule(Recorder { features, seen: seen.clone() }, sources)?;
        for (text, (prompt, tokens)) in texts.into_iter().enumerate() {
            {
                let mut seen = lock(&seen);
                (seen.text, seen.left) = (text, tokens.clone());
                seen.left.reverse();
            }
            // One text at a time, so that positions come in the order of the tokens.
            recorder.score(prompt, &tokens)?;
        }
        let tokens = std::mem::take(&mut lock(&seen).observed);
        Ok(Self { sources: count, features, tokens })
    }

    /// Returns the number of sources.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources
    }

    /// Returns what was observed of each source.
    pub fn features(&self) -> MixtureFeatures {
        self.features
    }

    /// Returns all tokens of all texts, in their order.
    #[must_use]
    pub fn tokens(&self) -> &[ObservedToken] {
        &self.tokens
    }

    /// Returns `−log Σᵢ wᵢ·πᵢ(token)` of every token in the mixture with these weights, in nats.
    ///
    /// # Errors
    /// [`Error::OtherFeatures`] if the weights are for another number of sources or depend on other features. Constant
    /// weights depend on none.
    pub fn surprisals(&self, weights: &MixtureWeights) -> Result<Vec<f64>> {
        let constant = weights.features() == MixtureFeatures::none();
        if weights.sources() != self.sources || !(constant || weights.features() == self.features) {
            return Err(Error::OtherFeatures {
                expected: format!("{} sources with {:?}", weights.sources(), weights.features()),
                got: format!("{} sources with {:?}", self.sources, self.features),
            });
        }
        let surprisal = |token: &ObservedToken| {
            let joint = weights.of(&token.features).into_iter().zip(&token.log_probs);
            -joint.map(|(weight, log_prob)| weight * log_prob.exp()).sum::<f64>().ln()
        };
        Ok(self.tokens.iter().map(surprisal).collect())
    }

    /// Returns the perplexity of the mixture with these weights: `exp` of the mean surprisal of a token.
    ///
    /// # Errors
    /// * [`Error::NoTokens`] if there are no tokens.
    /// * Any error of [`surprisals`](Self::surprisals).
    pub fn perplexity(&self, weights: &MixtureWeights) -> Result<f64> {
        let surprisals = self.surprisals(weights)?;
        if surprisals.is_empty() {
            return Err(Error::NoTokens);
        }
        Ok((surprisals.iter().sum::<f64>() / surprisals.len() as f64).exp())
    }
}

/// What a [`Recorder`] has seen.
#[derive(Default)]
struct Seen {
    /// The index of the text that is scored.
    text: usize,
    /// Its tokens that are still to be seen, the next one last.
    left: Vec<TokenId>,
    observed: Vec<ObservedToken>,
}

/// A rule that records what its parts say about the tokens of a text. Its result is the first part.
struct Recorder {
    features: MixtureFeatures,
    seen: Arc<Mutex<Seen>>,
}

impl<B: Backend> Rule<B> for Recorder {
    fn name(&self) -> String {
        "observations".into()
    }

    fn apply(
        &self,
        backend: &B,
        parts: &[Vec<ScoreRow<'_, B>>],
        width: usize,
    ) -> eft_core::Result<B::Tensor> {
        let rows = parts[0].len();
        let mut seen = lock(&self.seen);
        let start = seen.left.len().checked_sub(rows).ok_or_else(|| {
            eft_core::Error::shape("positions of a text", format!("at most {}", seen.left.len()), rows)
        })?;
        let tokens: Vec<_> = seen.left.drain(start..).rev().map(|token| vec![token]).collect();
        let features = self.features.of(backend, parts, width)?;
        let text = seen.text;
        let observed =
            features.into_iter().map(|features| ObservedToken { text, features, log_probs: Vec::new() });
        let first = seen.observed.len();
        seen.observed.extend(observed);
        for rows in parts {
            let log_probs = backend.log_probs(rows, &tokens, width)?.into_iter().flatten();
            for (token, log_prob) in seen.observed[first..].iter_mut().zip(log_probs) {
                token.log_probs.push(log_prob.into());
            }
        }
        backend.linear(&[Term { weight: 1.0, rows: parts[0].clone() }], width)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
