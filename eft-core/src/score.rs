//! Log-probabilities of given continuations, and the implicit reward computed from them.
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
//!
//! Continuations are scored in several passes, so that the scores of one pass take at most [`PASS_BYTES`] for each
//! model.
use std::collections::HashMap;

#[cfg(doc)]
use crate::Error;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::{Prompt, Result, Source, TokenId};

/// The memory, in bytes, that the scores of one pass may take for each model, over all rows of a batch: 128 MiB, or one
/// position in each row where that takes more (as much as a step of generation takes).
///
/// A position takes 4 bytes for each token of the vocabulary; at 152,000 tokens a pass scores 220 positions. To use
/// less memory, score fewer pairs in one call.
pub const PASS_BYTES: usize = 128 << 20;

/// A number for each token of a continuation, and their sum.
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
///
/// let fair_coin = from_fn(Host, Vocab::new("coin", ["heads", "tails"])?, |_| Ok(vec![0.0, 0.0]));
/// let scored = fair_coin.score([0], &[1, 0, 1])?;
/// assert_eq!(scored.tokens.len(), 3);
/// assert!((scored.total - 0.125f64.ln()).abs() < 1e-6);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SequenceScore {
    /// The score of each token, in nats.
    pub tokens: Vec<f32>,
    /// The sum over all tokens, in nats.
    pub total: f64,
}

impl SequenceScore {
    fn new(tokens: Vec<f32>) -> Self {
        // Starts at +0, since the sum of an empty iterator is −0.
        Self { total: tokens.iter().fold(0.0, |sum, t| sum + f64::from(*t)), tokens }
    }
}

impl<B: Backend> Source<B> {
    /// Returns `log π(continuation | prompt)`, for each token and in total, in nats.
    ///
    /// Each distribution is normalised over the tokens that all terms share. A token that the source excludes has the
    /// score −∞.
    ///
    /// # Errors
    /// * [`Error::EmptyPrompt`] or [`Error::CannotRender`] if a term cannot turn the prompt into tokens.
    /// * [`Error::TokenOutOfRange`] if a token is not among those that all terms share.
    /// * [`Error::ContextFull`] if prompt and continuation are longer than a model's context.
    /// * [`Error::BadScores`] if a model returns scores that no token can be chosen from.
    /// * Any error of [`Evaluator::open`] and any error that a model reports while it runs.
    pub fn score(&self, prompt: impl Into<Prompt>, continuation: &[TokenId]) -> Result<SequenceScore> {
        let scored = self.score_batch([(prompt, continuation.to_vec())])?;
        Ok(scored.into_iter().next().unwrap_or_default())
    }

    /// Returns the scores of a batch of prompts with their continuations, one for each pair: see
    /// [`score`](Self::score). Rows may differ in length. A prompt that several pairs have, as the choices of a question,
    /// is read once.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![0.0, tokens.len() as f32]));
    /// let scored = model.score_batch([([0], vec![1, 1]), ([1], vec![0])])?;
    /// assert!(scored[0].tokens[1] > scored[0].tokens[0]); // `b` becomes likelier with each token
    /// assert_eq!(scored[1].tokens.len(), 1);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`] if there are no pairs.
    /// * Any error of [`score`](Self::score), for any pair: none is then scored.
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

/// Returns `β·[log π_tuned(y | x) − log π_untuned(y | x)]` of a continuation `y` of a prompt `x`, for each token and in
/// total: the reward that the tuned model maximises, up to a function of the prompt.
///
/// Rafailov et al. 2023, arXiv 2305.18290, equation 5.
///
/// # Errors
/// * [`Error::EmptyPrompt`] or [`Error::CannotRender`] if a model cannot turn the prompt into tokens.
/// * [`Error::TokenOutOfRange`] if a token is not among those that both models have.
/// * [`Error::ContextFull`] if prompt and continuation are longer than a model's context.
/// * Any other error of [`Source::score`], for either model.
pub fn implicit_reward<B: Backend>(
    tuned: &Source<B>,
    untuned: &Source<B>,
    prompt: impl Into<Prompt>,
    continuation: &[TokenId],
    beta: f32,
) -> Result<SequenceScore> {
    // Both are roots of one evaluator, so that adapters of one model are scored in one pass.
    let log_probs = score_roots(&[tuned, untuned], &[prompt.into()], &[continuation.to_vec()])?;
    let pairs = log_probs[0][0].iter().zip(&log_probs[1][0]);
    Ok(SequenceScore::new(pairs.map(|(tuned, untuned)| beta * (tuned - untuned)).collect()))
}

/// Returns the log-probabilities of each row's continuation, for each root.
fn score_roots<B: Backend>(
    roots: &[&Source<B>],
    prompts: &[Prompt],
    continuations: &[Vec<TokenId>],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut evaluator = open_once(roots, prompts)?;
    for (root, source) in roots.iter().enumerate() {
        let limit = evaluator.width(root)?;
        for (row, tokens) in continuations.iter().enumerate() {
            crate::check::within(&source.name(), row, tokens, limit)?;
        }
    }
    score_pushed(&mut evaluator, roots.len(), continuations)
}

/// Opens a row for each prompt. A prompt that several rows have is read once, and its row is then copied.
fn open_once<B: Backend>(roots: &[&Source<B>], prompts: &[Prompt]) -> Result<Evaluator<B>> {
    let (mut distinct, mut of_prompt) = (Vec::new(), HashMap::new());
    let mut row_of = |prompt| {
        *of_prompt.entry(prompt).or_insert_with(|| {
            distinct.push(Prompt::clone(prompt));
            distinct.len() - 1
        })
    };
    let rows: Vec<usize> = prompts.iter().map(&mut row_of).collect();
    if distinct.len() == prompts.len() {
        return Evaluator::open(roots, prompts);
    }
    let Ok(mut evaluator) = Evaluator::open(roots, &distinct) else {
        // The same failure, with the row of the prompt among all of them.
        return Evaluator::open(roots, prompts);
    };
    evaluator.select(&rows)?;
    Ok(evaluator)
}

/// Pushes tokens onto each row. Returns their log-probabilities, for each of the first `roots` roots and each row.
pub(crate) fn score_pushed<B: Backend>(
    evaluator: &mut Evaluator<B>,
    roots: usize,
    tokens: &[Vec<TokenId>],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut width = 1;
    for root in 0..roots {
        width = width.max(evaluator.width(root)?);
    }
    let starts: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len()).collect();
    let mut log_probs = vec![vec![Vec::new(); tokens.len()]; roots];
    let mut done = vec![0; tokens.len()];
    while let Some(positions) = positions_per_row(&done, tokens, width) {
        let parts: Vec<_> =
            done.iter().zip(tokens).map(|(from, t)| *from..(from + positions).min(t.len())).collect();
        let part_of = |(tokens, part): (&Vec<_>, &std::ops::Range<usize>)| tokens[part.clone()].to_vec();
        evaluator.push(&tokens.iter().zip(&parts).map(part_of).collect::<Vec<_>>())?;
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
        done = parts.into_iter().map(|part| part.end).collect();
    }
    Ok(log_probs)
}

/// Returns how many positions of each row the next pass scores: [`PASS_BYTES`] are shared equally among the rows that
/// have tokens left, and each gets at least one position. `None` if no row has any left.
fn positions_per_row(done: &[usize], tokens: &[Vec<TokenId>], width: usize) -> Option<usize> {
    let left = done.iter().zip(tokens).filter(|(done, tokens)| **done < tokens.len()).count();
    let positions = PASS_BYTES / width.saturating_mul(size_of::<f32>());
    (left > 0).then(|| (positions / left).max(1))
}
