//! Drafts: tokens that are written ahead of each row, by a cheap model or found by other means.
use std::ops::Range;
use std::time::Instant;

use super::scheduler::DraftEnd;
use crate::backend::{Backend, ScoreRow};
use crate::decode::step::Bounds;
use crate::evaluator::Evaluator;
use crate::sample::scored_position::ScoredPosition;
use crate::sample::{Prepared, Purpose, Sampler};
use crate::{Result, Scores, TokenId};

/// The root of the evaluator whose distribution drafted texts follow.
pub(super) const TARGET: usize = 0;
/// The root of the evaluator that drafts.
pub(super) const DRAFT: usize = 1;

/// The tokens drafted for each row, and the distributions that those of a model were drawn from.
pub(super) struct Draft<B: Backend> {
    /// How many tokens had been pushed to each row before.
    pub(super) starts: Vec<usize>,
    pub(super) rows: Vec<DraftRow>,
    passes: Vec<Pass<B>>,
    /// The seconds that each pass of a model took.
    pub(super) seconds: Vec<f64>,
}

/// The tokens drafted for one row.
#[derive(Debug, Clone, Default)]
pub(super) struct DraftRow {
    pub(super) tokens: Vec<TokenId>,
    /// The log-probability of each token in the distribution it was drawn from.
    pub(super) log_probs: Vec<f32>,
    /// Whether the last token would end the text. It is then not pushed, and the target is not scored after it.
    pub(super) ends: bool,
    pub(super) origin: Origin,
}

/// Where drafted tokens come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    /// A model over the target's tokens, from whose distributions they were drawn.
    #[default]
    Drawn,
    /// The text that another model has written.
    Text,
    /// The prompt, or the text so far.
    Lookup,
}

impl DraftRow {
    /// Whether the tokens were not drawn: each has the probability 1 in the distribution that it comes from.
    pub(super) fn is_certain(&self) -> bool {
        self.origin != Origin::Drawn
    }
}

/// One pass of the draft model, and the rows that it drew from.
struct Pass<B: Backend> {
    scores: Scores<B>,
    prepared: Prepared<B>,
    /// For each prepared row, the row of the batch.
    rows: Vec<usize>,
}

impl<B: Backend> Draft<B> {
    /// No tokens, for the rows of an evaluator.
    pub(super) fn none(evaluator: &Evaluator<B>) -> Self {
        let starts: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len()).collect();
        let rows = vec![DraftRow::default(); starts.len()];
        Self { starts, rows, passes: Vec::new(), seconds: Vec::new() }
    }

    /// Drafts up to `lengths[row]` tokens for each row, as long as it is worth it. They are pushed to the evaluator, and the sampler
    /// remembers them.
    pub(super) fn write(
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        lengths: &[usize],
        end: Option<&DraftEnd>,
        bounds: &Bounds<'_>,
        purpose: Purpose,
    ) -> Result<Self> {
        // The target cannot accept tokens that only the draft has, so they are left out.
        let width = evaluator.width(0)?;
        let mut draft = Self::none(evaluator);
        let mut writing: Vec<_> = (0..lengths.len()).filter(|row| lengths[*row] > 0).collect();
        while !writing.is_empty() {
            let began = Instant::now();
            let scores = evaluator.eval(DRAFT, &draft.ends_of(&writing))?;
            let positions: Vec<_> = writing
                .iter()
                .flat_map(|row| scores.positions(*row).into_iter().map(move |scores| (*row, scores)))
                .map(|(row, scores)| ScoredPosition { scores, row, position: draft.end(row), coverage: None })
                .collect();
            let prepared = sampler.prepare(&positions, width)?;
            let picks = sampler.pick(&prepared.rows(&positions), &positions, purpose, width)?;
            let mut pushes = vec![Vec::new(); lengths.len()];
            let drawn = std::mem::take(&mut writing);
            for (&row, pick) in drawn.iter().zip(picks) {
                // A draft whose scores are unsound writes nothing more; the target continues alone.
                if pick.log_prob.is_nan() {
                    continue;
                }
                let written = &mut draft.rows[row];
                written.tokens.push(pick.token);
                written.log_probs.push(pick.log_prob);
                sampler.remember([(row, pick.token)]);
                written.ends = bounds.stops[row].end(sampler.generated(row)).is_some();
                if !written.ends {
                    pushes[row].push(pick.token);
                    if written.tokens.len() < lengths[row] {
                        writing.push(row);
                    }
                }
            }
            evaluator.push(&pushes)?;
            draft.seconds.push(began.elapsed().as_secs_f64());
            draft.passes.push(Pass { scores, prepared, rows: drawn });
            if let Some(end) = end {
                let drafts = writing.iter().map(|row| (*row, &draft.rows[*row].log_probs[..]));
                writing = end.go_on(drafts, lengths.len());
            }
        }
        Ok(draft)
    }

    /// Drafts these tokens, which were not drawn, for rows that have no draft yet: up to the first that the target lacks,
    /// or that would end the text. They are pushed to the evaluator, and the sampler remembers them.
    pub(super) fn add(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        drafts: impl IntoIterator<Item = (usize, Vec<TokenId>)>,
        origin: Origin,
        bounds: &Bounds<'_>,
    ) -> Result<()> {
        let width = evaluator.width(0)?;
        let mut pushes = vec![Vec::new(); self.rows.len()];
        for (row, tokens) in drafts {
            let written = &mut self.rows[row];
            for token in tokens.into_iter().take_while(|token| (*token as usize) < width) {
                written.origin = origin;
                written.tokens.push(token);
                written.log_probs.push(0.0);
                sampler.remember([(row, token)]);
                written.ends = bounds.stops[row].end(sampler.generated(row)).is_some();
                if written.ends {
                    break;
                }
                pushes[row].push(token);
            }
        }
        evaluator.push(&pushes)
    }

    /// The number of passes of the draft model; of a model that wrote text, the number of its tokens.
    pub(super) fn passes(&self) -> usize {
        let of_text = self.rows.iter().filter(|row| row.origin == Origin::Text);
        of_text.map(|row| row.tokens.len()).max().unwrap_or(self.passes.len())
    }

    /// The number of tokens of the longest draft.
    pub(super) fn longest(&self) -> usize {
        self.rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0)
    }

    /// The number of tokens of a row, including the drafted ones.
    pub(super) fn end(&self, row: usize) -> usize {
        self.starts[row] + self.rows[row].tokens.len()
    }

    /// The positions after all tokens of these rows; an empty range for the others.
    pub(super) fn ends_of(&self, rows: &[usize]) -> Vec<Range<usize>> {
        let mut at = vec![0..0; self.rows.len()];
        rows.iter().for_each(|row| at[*row] = self.end(*row)..self.end(*row) + 1);
        at
    }

    /// Returns the distribution that the drafted token of this index was drawn from.
    pub(super) fn distribution(&self, row: usize, index: usize) -> Option<ScoreRow<'_, B>> {
        let pass = self.passes.get(index)?;
        let drawn = pass.rows.iter().position(|r| *r == row)?;
        pass.prepared.changed(drawn).or_else(|| pass.scores.positions(row).pop())
    }
}
