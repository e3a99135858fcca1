//! What the draft writes ahead.
use std::ops::Range;
use std::time::Instant;

use super::block::Bounds;
use crate::backend::{Backend, ScoreRow};
use crate::evaluator::Evaluator;
use crate::sample::spot::{Spot, drawn_from};
use crate::sample::{Purpose, Sampler};
use crate::{Result, Scores, TokenId};

/// The root of the evaluator that drafts.
pub(super) const DRAFT: usize = 1;

/// Tokens written ahead of each row, and the distributions they were drawn from.
pub(super) struct Draft<B: Backend> {
    /// How many tokens each row had before.
    pub(super) starts: Vec<usize>,
    pub(super) rows: Vec<DraftRow>,
    steps: Vec<Step<B>>,
    /// Seconds that the first pass took, and the others together.
    pub(super) seconds: (f64, f64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct DraftRow {
    pub(super) tokens: Vec<TokenId>,
    /// Log-probability of each token in the distribution it was drawn from.
    pub(super) log_probs: Vec<f32>,
    /// The last token would end the text: nothing is asked behind it, and it is not pushed.
    pub(super) ends: bool,
}

/// The rows that one pass drew from.
struct Step<B: Backend> {
    scores: Scores<B>,
    prepared: Option<B::Tensor>,
    /// For each prepared row, the row of the batch.
    writing: Vec<usize>,
}

impl<B: Backend> Draft<B> {
    /// Writes up to `lengths` tokens, pushes them to the evaluator and has the sampler remember them.
    pub(super) fn write(
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        lengths: &[usize],
        bounds: &Bounds<'_>,
        purpose: Purpose,
    ) -> Result<Self> {
        let starts: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len()).collect();
        // Tokens that only the draft knows are none that the target could accept.
        let width = evaluator.width(0)?;
        let mut draft = Self {
            starts,
            rows: vec![DraftRow::default(); lengths.len()],
            steps: Vec::new(),
            seconds: (0.0, 0.0),
        };
        let mut writing: Vec<_> = (0..lengths.len()).filter(|row| lengths[*row] > 0).collect();
        while !writing.is_empty() {
            let began = Instant::now();
            let scores = evaluator.eval(DRAFT, &draft.ends_of(&writing))?;
            let spots: Vec<_> = writing
                .iter()
                .flat_map(|row| scores.positions(*row).into_iter().map(move |scores| (*row, scores)))
                .map(|(row, scores)| Spot { scores, row, position: draft.end(row), known_mass: None })
                .collect();
            let prepared = sampler.prepare(&spots, width)?;
            let picks = sampler.pick(&drawn_from(&spots, prepared.as_ref()), &spots, purpose, width)?;
            let mut pushes = vec![Vec::new(); lengths.len()];
            let drawn = std::mem::take(&mut writing);
            for (&row, pick) in drawn.iter().zip(picks) {
                // What the draft cannot say, the target will.
                if pick.log_prob.is_nan() {
                    continue;
                }
                let written = &mut draft.rows[row];
                written.tokens.push(pick.token);
                written.log_probs.push(pick.log_prob);
                sampler.remember([(row, pick.token)]);
                written.ends = bounds.ends(sampler.generated(row));
                if !written.ends {
                    pushes[row].push(pick.token);
                    if written.tokens.len() < lengths[row] {
                        writing.push(row);
                    }
                }
            }
            evaluator.push(&pushes)?;
            let seconds = began.elapsed().as_secs_f64();
            if draft.steps.is_empty() {
                draft.seconds.0 = seconds
            } else {
                draft.seconds.1 += seconds
            }
            draft.steps.push(Step { scores, prepared, writing: drawn });
        }
        Ok(draft)
    }

    /// Passes of the draft.
    pub(super) fn passes(&self) -> usize {
        self.steps.len()
    }

    /// How many tokens a row has, drafted ones included.
    pub(super) fn end(&self, row: usize) -> usize {
        self.starts[row] + self.rows[row].tokens.len()
    }

    /// The positions behind all tokens of these rows.
    pub(super) fn ends_of(&self, rows: &[usize]) -> Vec<Range<usize>> {
        let mut at = vec![0..0; self.rows.len()];
        rows.iter().for_each(|row| at[*row] = self.end(*row)..self.end(*row) + 1);
        at
    }

    /// The distribution that a row's token of this index was drawn from.
    pub(super) fn drawn_from(&self, row: usize, index: usize) -> Option<ScoreRow<'_, B>> {
        let step = self.steps.get(index)?;
        match &step.prepared {
            Some(tensor) => Some(ScoreRow::new(tensor, step.writing.iter().position(|r| *r == row)?)),
            None => step.scores.positions(row).pop(),
        }
    }
}
