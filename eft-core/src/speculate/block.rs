//! One block: the draft writes, the target judges.
use std::time::{Duration, Instant};

use super::Report;
use super::draft::Draft;
use super::pace::{Measured, Pace};
use super::verify::{Verdict, verify};
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::{Purpose, Sampler, Token};
use crate::{Result, TokenId};

/// When a drafted token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// Where the target picks the same token, greedily or with the same uniform.
    Agreement,
    /// With probability `min(1, p / q)`; where it does not, the token is drawn from what `p` has more than `q`.
    Rejection,
}

/// Where a draft has to stop.
pub(crate) struct Bounds<'a> {
    /// Tokens that each row may still get.
    pub(crate) left: Vec<usize>,
    pub(crate) stop_ids: &'a [TokenId],
    pub(crate) stop_sequences: &'a [Vec<TokenId>],
}

impl Bounds<'_> {
    /// Whether a text ends with its last token.
    pub(super) fn ends(&self, text: &[TokenId]) -> bool {
        text.last().is_some_and(|last| self.stop_ids.contains(last))
            || self.stop_sequences.iter().any(|sequence| text.ends_with(sequence))
    }
}

/// How the rows of an evaluator are drafted, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Speculation {
    acceptance: Acceptance,
    pace: Pace,
    report: Report,
    /// The draft is a term that shares no pass with the target's other terms: its row behind the last token it wrote
    /// is a pass of its own.
    alone: bool,
    started: bool,
}

impl Speculation {
    pub(super) fn new<B: Backend>(
        evaluator: &Evaluator<B>,
        acceptance: Acceptance,
        pace: Pace,
    ) -> Result<Self> {
        let alone = !evaluator.of_draft_alone(0, super::draft::DRAFT)?.is_empty();
        Ok(Self { acceptance, pace, report: Report::default(), alone, started: false })
    }

    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// The next tokens of each row, at least one. All but the last of them have been pushed to the evaluator.
    pub(crate) fn block<B: Backend>(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>> {
        let purpose = match self.acceptance {
            Acceptance::Agreement => Purpose::Draw,
            Acceptance::Rejection => Purpose::Draft,
        };
        let draft = Draft::write(evaluator, sampler, &self.lengths(evaluator, bounds), bounds, purpose)?;
        let began = Instant::now();
        let verdict = verify(evaluator, sampler, &draft, self.acceptance, self.alone)?;
        self.learn(&draft, &verdict, began.elapsed().as_secs_f64());

        let pushed = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len() - draft.starts[row]);
        let drop: Vec<_> = pushed
            .zip(&verdict.tokens)
            .map(|(pushed, tokens)| (pushed + 1).saturating_sub(tokens.len()))
            .collect();
        evaluator.rollback(&drop)?;
        sampler.rollback(&draft.rows.iter().map(|row| row.tokens.len()).collect::<Vec<_>>())?;
        let chosen = verdict.tokens.iter().enumerate();
        sampler.remember(chosen.flat_map(|(row, tokens)| tokens.iter().map(move |token| (row, token.id))));
        Ok(verdict.tokens)
    }

    /// How many tokens to draft for each row: what pays, what is left to be written (the last token is the target's
    /// own), and what there is room for.
    fn lengths<B: Backend>(&self, evaluator: &Evaluator<B>, bounds: &Bounds<'_>) -> Vec<usize> {
        let length = self.pace.next();
        let left = bounds.left.iter().zip(evaluator.room());
        left.map(|(left, room)| length.min(left.saturating_sub(1)).min(room)).collect()
    }

    fn learn<B: Backend>(&mut self, draft: &Draft<B>, verdict: &Verdict, target: f64) {
        let rows = draft.rows.len();
        let (first, others) = draft.seconds;
        let measured = Measured {
            rows,
            drafted: draft.passes(),
            accepted: verdict.accepted,
            judged: verdict.judged,
            first_draft: first,
            other_drafts: others,
            target,
            ran: std::mem::replace(&mut self.started, true),
        };
        self.pace.learn(&measured);

        let tokens: usize = verdict.tokens.iter().map(Vec::len).sum();
        let report = &mut self.report;
        report.tokens += tokens;
        report.row_steps += rows;
        report.drafted += draft.rows.iter().map(|row| row.tokens.len()).sum::<usize>();
        report.judged += verdict.judged;
        report.accepted += verdict.accepted;
        report.draft_passes += draft.passes();
        report.draft_time += Duration::from_secs_f64(first + others);
        if draft.passes() == 0 {
            report.plain_steps += 1;
            report.plain_time += Duration::from_secs_f64(target);
            return;
        }
        report.blocks += 1;
        report.block_time += Duration::from_secs_f64(target);
        if let Some(plain) = self.pace.plain() {
            let undrafted = Duration::from_secs_f64(plain * tokens as f64 / rows as f64);
            *report.undrafted_time.get_or_insert_default() += undrafted;
        }
    }
}
