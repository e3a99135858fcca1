//! One step of decoding: how the next tokens of each row are chosen.
//!
//! Plain decoding chooses one token for each row, after those that a processor forces. Speculative decoding chooses one
//! or several, and implements the same trait, so that a [`Batch`](super::Batch) does not know which of the two it runs.
use super::report::Report;
use super::stop::StopRules;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::scored_position::scored_positions;
use crate::sample::{Sampler, Token};
use crate::{Error, Prompt, Result, TokenId};

/// The limits on the next tokens of each row.
pub(crate) struct Bounds<'a> {
    /// The number of tokens that each row may still get.
    pub(crate) left: Vec<usize>,
    /// The rules that end the text of each row.
    pub(crate) stops: Vec<&'a StopRules>,
}

/// Chooses the next tokens of each row of a batch.
pub(crate) trait Stepper<B: Backend>: Send {
    /// Returns at least one token for each row. The sampler remembers all of them, and all but the last of each row
    /// have been pushed to the evaluator.
    ///
    /// A call that fails may leave tokens in the evaluator and the sampler; [`undo`] removes them.
    fn step(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>>;

    /// Makes row `i` the former row `rows[i]`, as the evaluator has done. Needed by a stepper that keeps something for each
    /// row.
    ///
    /// # Errors
    /// Any error of a model.
    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let _ = rows;
        Ok(())
    }

    /// Takes in rows that have joined the evaluator after those that there were, with these prompts.
    ///
    /// # Errors
    /// Any error of a model that reads the prompts. The rows are not taken in then.
    fn join(&mut self, evaluator: &Evaluator<B>, prompts: &[Prompt]) -> Result<()> {
        let _ = (evaluator, prompts);
        Ok(())
    }

    /// Returns statistics of drafting so far; `None` for a stepper that does not draft.
    fn report(&self) -> Option<&Report> {
        None
    }
}

/// Plain decoding: one token for each row, after the tokens that a processor forces.
pub(crate) struct Plain;

impl<B: Backend> Stepper<B> for Plain {
    fn step(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>> {
        let forced = forced(evaluator, sampler, bounds)?;
        if forced.iter().all(Vec::is_empty) {
            evaluator.foresee(&|row, token| sampler.draw_of(row, token));
            let scores = evaluator.eval_last(0)?;
            return Ok(sampler.sample(&scores)?.into_iter().map(|token| vec![token]).collect());
        }
        let starts: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len()).collect();
        evaluator.push(&forced)?;
        let rows = forced.iter().enumerate();
        sampler.remember(rows.flat_map(|(row, tokens)| tokens.iter().map(move |token| (row, *token))));
        evaluator.foresee(&|row, token| sampler.draw_of(row, token));
        let at: Vec<_> = starts.iter().zip(&forced).map(|(at, tokens)| *at..at + tokens.len() + 1).collect();
        let scores = evaluator.eval(0, &at)?;
        // The forced tokens are chosen like any others, so all that is reported about them is what it would be if they
        // had been chosen one by one.
        let mut chosen = sampler.choose(&scored_positions(&scores, &starts), scores.width())?.into_iter();
        let chosen: Vec<Vec<_>> =
            forced.iter().map(|tokens| chosen.by_ref().take(tokens.len() + 1).collect()).collect();
        for (row, (forced, chosen)) in forced.iter().zip(&chosen).enumerate() {
            if let Some((token, _)) = forced.iter().zip(chosen).find(|(forced, chosen)| **forced != chosen.id)
            {
                let reason = format!("it forces the token {token} in row {row}, but its edits allow others");
                return Err(Error::source("a processor", reason));
            }
        }
        sampler
            .remember(chosen.iter().enumerate().filter_map(|(row, tokens)| Some((row, tokens.last()?.id))));
        Ok(chosen)
    }
}

/// Whether a processor forces a token in any row.
///
/// # Errors
/// Any error of a processor.
pub(crate) fn any_forced<B: Backend>(
    evaluator: &Evaluator<B>,
    sampler: &Sampler<B>,
    bounds: &Bounds<'_>,
) -> Result<bool> {
    Ok(forced(evaluator, sampler, bounds)?.iter().any(|tokens| !tokens.is_empty()))
}

/// The tokens that processors force in each row. One more token must fit after them, none of them may end the text, and
/// all of them must be common tokens.
fn forced<B: Backend>(
    evaluator: &Evaluator<B>,
    sampler: &Sampler<B>,
    bounds: &Bounds<'_>,
) -> Result<Vec<Vec<TokenId>>> {
    let width = evaluator.width(0)?;
    let of_row = |(row, (left, room)): (usize, (&usize, usize))| {
        let mut forced = sampler.forced(row, left.saturating_sub(1).min(room))?;
        if !forced.is_empty() {
            let mut text = sampler.generated(row).to_vec();
            let last = forced.iter().position(|token| {
                text.push(*token);
                *token as usize >= width || bounds.stops[row].end(&text).is_some()
            });
            forced.truncate(last.unwrap_or(forced.len()));
        }
        Ok(forced)
    };
    bounds.left.iter().zip(evaluator.room()).enumerate().map(of_row).collect()
}

/// Makes evaluator and sampler forget every token after the first `lengths[row]` of each row, after a step that failed.
pub(super) fn undo<B: Backend>(evaluator: &mut Evaluator<B>, sampler: &mut Sampler<B>, lengths: &[usize]) {
    let excess = |now: usize, length: &usize| now.saturating_sub(*length);
    let rows = || lengths.iter().enumerate();
    let pushed: Vec<_> = rows().map(|(row, length)| excess(evaluator.pushed(row).len(), length)).collect();
    let chosen: Vec<_> = rows().map(|(row, length)| excess(sampler.generated(row).len(), length)).collect();
    // An evaluator that fails at this is poisoned and says so when it is used next.
    let _ = evaluator.rollback(&pushed);
    let _ = sampler.rollback(&chosen);
}
