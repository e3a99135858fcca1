//! One step of decoding: how the next tokens of each row are chosen.
//!
//! Plain decoding chooses one token for each row. Speculative decoding chooses one or several, and implements the same
//! trait, so that a [`Batch`](super::Batch) does not know which of the two it runs.
use super::report::Report;
use super::stop::StopRules;
use crate::Result;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::{Sampler, Token};

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

    /// Returns statistics of drafting so far; `None` for a stepper that does not draft.
    fn report(&self) -> Option<&Report> {
        None
    }
}

/// Plain decoding: one token for each row.
pub(super) struct Plain;

impl<B: Backend> Stepper<B> for Plain {
    fn step(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        _: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>> {
        let scores = evaluator.eval_last(0)?;
        Ok(sampler.sample(&scores)?.into_iter().map(|token| vec![token]).collect())
    }
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
