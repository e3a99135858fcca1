//! Scores of whole continuations: log-probabilities, and the implicit reward.
//!
//! ```
//! use eft_core::score::implicit_reward;
//! use eft_core::{from_fn, Host, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let untuned = from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 0.0]));
//! let tuned = from_fn(Host, vocab, |_| Ok(vec![0.0, 3.0f32.ln()]));
//!
//! let scored = tuned.score([0], &[1, 1])?;
//! assert!((scored.total - 2.0 * 0.75f64.ln()).abs() < 1e-6);
//! let reward = implicit_reward(&tuned, &untuned, [0], &[1, 1], 1.0)?;
//! assert!((reward.total - 2.0 * 1.5f64.ln()).abs() < 1e-6);
//! # Ok::<(), eft_core::Error>(())
//! ```
#[cfg(doc)]
use crate::Error;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::{Prompt, Result, Source, TokenId};

/// Positions scored at once: what a wide vocabulary can keep in memory.
const POSITIONS: usize = 64;

/// A number for each token of a continuation, and their sum.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SequenceScore {
    /// For each token, in nats.
    pub tokens: Vec<f32>,
    /// Their sum.
    pub total: f64,
}

impl SequenceScore {
    fn new(tokens: Vec<f32>) -> Self {
        // From 0: the sum of nothing would be −0.
        Self { total: tokens.iter().fold(0.0, |sum, t| sum + f64::from(*t)), tokens }
    }
}

impl<B: Backend> Source<B> {
    /// `log π(continuation | prompt)`, per token and in total, each distribution normalised over the tokens that
    /// all terms share. −∞ for a token that the source excludes.
    ///
    /// # Errors
    /// As [`Evaluator::open`]; [`Error::TokenOutOfRange`] for a token past the range that all terms share;
    /// [`Error::ContextFull`]; [`Error::BadScores`].
    pub fn score(&self, prompt: impl Into<Prompt>, continuation: &[TokenId]) -> Result<SequenceScore> {
        let scored = self.score_batch([(prompt, continuation.to_vec())])?;
        Ok(scored.into_iter().next().unwrap_or_default())
    }

    /// As [`score`](Self::score), for a batch of prompts with their continuations.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_batch<P: Into<Prompt>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Vec<TokenId>)>,
    ) -> Result<Vec<SequenceScore>> {
        let (prompts, continuations): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|(p, c)| (p.into(), c)).unzip();
        let mut log_probs = score_roots(&[self], &prompts, &continuations)?;
        Ok(log_probs.swap_remove(0).into_iter().map(SequenceScore::new).collect())
    }
}

/// `β·[log π_tuned(y | x) − log π_untuned(y | x)]`, per token and in total: the reward that the tuning has, in
/// effect, maximised. Rafailov et al. 2023, arXiv 2305.18290.
///
/// # Errors
/// As [`Source::score`].
pub fn implicit_reward<B: Backend>(
    tuned: &Source<B>,
    untuned: &Source<B>,
    prompt: impl Into<Prompt>,
    continuation: &[TokenId],
    beta: f32,
) -> Result<SequenceScore> {
    // Both as roots of one evaluator: adapters of one model are scored in one pass.
    let log_probs = score_roots(&[tuned, untuned], &[prompt.into()], &[continuation.to_vec()])?;
    let pairs = log_probs[0][0].iter().zip(&log_probs[1][0]);
    Ok(SequenceScore::new(pairs.map(|(tuned, untuned)| beta * (tuned - untuned)).collect()))
}

/// For each root and row, the log-probabilities of the row's continuation.
fn score_roots<B: Backend>(
    roots: &[&Source<B>],
    prompts: &[Prompt],
    continuations: &[Vec<TokenId>],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut evaluator = Evaluator::open(roots, prompts)?;
    for (root, source) in roots.iter().enumerate() {
        let limit = evaluator.width(root)?;
        for (row, tokens) in continuations.iter().enumerate() {
            crate::check::within(&source.name(), row, tokens, limit)?;
        }
    }
    score_pushed(&mut evaluator, roots.len(), continuations)
}

/// Pushes tokens behind those of each row. For each of the first `roots` roots and each row, their log-probabilities.
pub(crate) fn score_pushed<B: Backend>(
    evaluator: &mut Evaluator<B>,
    roots: usize,
    tokens: &[Vec<TokenId>],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let starts: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len()).collect();
    let mut log_probs = vec![vec![Vec::new(); tokens.len()]; roots];
    let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
    for from in (0..longest).step_by(POSITIONS) {
        let parts: Vec<_> =
            tokens.iter().map(|t| from.min(t.len())..(from + POSITIONS).min(t.len())).collect();
        evaluator
            .push(&tokens.iter().zip(&parts).map(|(t, part)| t[part.clone()].to_vec()).collect::<Vec<_>>())?;
        // Position p scores token p, so the last token itself is not fed.
        let at: Vec<_> =
            parts.iter().zip(&starts).map(|(part, start)| start + part.start..start + part.end).collect();
        let lists: Vec<_> = tokens
            .iter()
            .zip(&parts)
            .flat_map(|(t, part)| t[part.clone()].iter().map(|t| vec![*t]))
            .collect();
        for (root, log_probs) in log_probs.iter_mut().enumerate() {
            let scores = evaluator.eval(root, &at)?;
            let rows: Vec<_> = (0..at.len()).flat_map(|row| scores.positions(row)).collect();
            let mut found =
                evaluator.backend().log_probs(&rows, &lists, scores.width())?.into_iter().flatten();
            for (row, at) in at.iter().enumerate() {
                for position in at.clone() {
                    let log_prob = found.next().unwrap_or(f32::NAN);
                    if log_prob.is_nan() {
                        return Err(evaluator.diagnose(root, row, position));
                    }
                    log_probs[row].push(log_prob);
                }
            }
        }
        evaluator.commit();
    }
    Ok(log_probs)
}
