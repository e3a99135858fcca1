//! One block of speculative decoding: the draft model writes, the target verifies.
use std::time::{Duration, Instant};

use super::acceptance::Acceptance;
use super::draft::{DRAFT, Draft};
use super::scheduler::{DraftScheduler, Measured};
use super::text_draft::TextDraft;
use super::verify::{Verified, verify};
use crate::backend::Backend;
use crate::decode::Report;
use crate::decode::step::{Bounds, Plain, Stepper, any_forced};
use crate::evaluator::Evaluator;
use crate::sample::{Purpose, Sampler, Token};
use crate::{Prompt, Result};

/// Speculative decoding of the rows of an evaluator, whose first root is the target and whose second is the draft, unless
/// the draft writes text.
pub(super) struct SpeculativeStepper<B: Backend> {
    /// What drafts, if it is not the second root.
    text: Option<TextDraft<B>>,
    acceptance: Acceptance,
    scheduler: DraftScheduler,
    /// More rows are decoded by plain steps.
    most_rows: usize,
    report: Report,
    /// Whether the draft contains a model of the target that shares no session with the target's other models.
    /// Verifying a block does not run such a model, so its score row after the last drafted token takes one more pass.
    alone: bool,
}

impl<B: Backend> SpeculativeStepper<B> {
    pub(super) fn new(
        evaluator: &Evaluator<B>,
        acceptance: Acceptance,
        scheduler: DraftScheduler,
    ) -> Result<Self> {
        let alone = !evaluator.of_draft_alone(0, DRAFT)?.is_empty();
        Ok(Self { alone, ..Self::with(None, acceptance, scheduler) })
    }

    /// Speculative decoding with a draft that writes text.
    pub(super) fn of_text(text: TextDraft<B>, acceptance: Acceptance, scheduler: DraftScheduler) -> Self {
        Self::with(Some(text), acceptance, scheduler)
    }

    fn with(text: Option<TextDraft<B>>, acceptance: Acceptance, scheduler: DraftScheduler) -> Self {
        let (report, most_rows) = (Report::default(), usize::MAX);
        Self { text, acceptance, scheduler, most_rows, report, alone: false }
    }

    /// The same, drafting for at most this many rows.
    pub(super) fn most_rows(self, most_rows: usize) -> Self {
        Self { most_rows, ..self }
    }

    /// A step without a draft, because there are too many rows, or because processors force tokens, which need none.
    fn plain_step(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>> {
        let began = Instant::now();
        let chosen = Plain.step(evaluator, sampler, bounds)?;
        // The costs of such a step say nothing about those of other steps.
        self.scheduler.pass_over();
        self.report.tokens += chosen.iter().map(Vec::len).sum::<usize>();
        self.report.row_steps += chosen.len();
        self.report.plain_steps += 1;
        self.report.plain_time += began.elapsed();
        Ok(chosen)
    }

    /// How many tokens to draft for each row: the scheduler's choice, limited by the number of tokens still to be
    /// written (the last of which is the target's own) and the room of the models' contexts.
    fn lengths(&self, evaluator: &Evaluator<B>, bounds: &Bounds<'_>) -> Vec<usize> {
        let length = self.scheduler.next();
        let left = bounds.left.iter().zip(evaluator.room());
        left.map(|(left, room)| length.min(left.saturating_sub(1)).min(room)).collect()
    }

    /// Reports a block to the scheduler, and adds it to the report. `target` is the time of the verification in
    /// seconds.
    fn learn(&mut self, draft: &Draft<B>, verified: &Verified, target: f64) {
        let rows = draft.rows.len();
        let (first, others) = draft.seconds;
        let measured = Measured {
            rows,
            drafted: draft.passes(),
            accepted: verified.accepted,
            judged: verified.judged,
            first_draft: first,
            other_drafts: others,
            target,
            // The scores after a prompt are known from reading it.
            ran: draft.starts.iter().any(|tokens| *tokens > 0),
        };
        self.scheduler.learn(&measured);

        let tokens: usize = verified.tokens.iter().map(Vec::len).sum();
        let report = &mut self.report;
        report.tokens += tokens;
        report.row_steps += rows;
        report.drafted += draft.rows.iter().map(|row| row.tokens.len()).sum::<usize>();
        report.judged += verified.judged;
        report.accepted += verified.accepted;
        report.draft_passes += draft.passes();
        report.draft_time += Duration::from_secs_f64(first + others);
        if draft.passes() == 0 {
            report.plain_steps += 1;
            report.plain_time += Duration::from_secs_f64(target);
            return;
        }
        report.blocks += 1;
        report.block_time += Duration::from_secs_f64(target);
        if let Some(plain) = self.scheduler.plain() {
            let in_plain_steps = Duration::from_secs_f64(plain * tokens as f64 / rows as f64);
            *report.undrafted_time.get_or_insert_default() += in_plain_steps;
        }
    }
}

impl<B: Backend> Stepper<B> for SpeculativeStepper<B> {
    fn step(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Vec<Token>>> {
        if evaluator.rows() > self.most_rows || any_forced(evaluator, sampler, bounds)? {
            return self.plain_step(evaluator, sampler, bounds);
        }
        let purpose = match self.acceptance {
            Acceptance::Agreement => Purpose::Draw,
            Acceptance::Rejection => Purpose::Draft,
        };
        let lengths = self.lengths(evaluator, bounds);
        let draft = match &mut self.text {
            Some(text) => text.write(evaluator, sampler, &lengths, bounds)?,
            None => Draft::write(evaluator, sampler, &lengths, bounds, purpose)?,
        };
        let began = Instant::now();
        let verified = verify(evaluator, sampler, &draft, self.acceptance, self.alone)?;
        self.learn(&draft, &verified, began.elapsed().as_secs_f64());

        // The evaluator keeps the accepted tokens but the last one, which the batch pushes once it knows that the text
        // continues. The sampler forgets the draft and remembers the accepted tokens.
        let pushed = (0..evaluator.rows()).map(|row| evaluator.pushed(row).len() - draft.starts[row]);
        let drop: Vec<_> = pushed
            .zip(&verified.tokens)
            .map(|(pushed, tokens)| (pushed + 1).saturating_sub(tokens.len()))
            .collect();
        evaluator.rollback(&drop)?;
        sampler.rollback(&draft.rows.iter().map(|row| row.tokens.len()).collect::<Vec<_>>())?;
        let chosen = verified.tokens.iter().enumerate();
        sampler.remember(chosen.flat_map(|(row, tokens)| tokens.iter().map(move |token| (row, token.id))));
        Ok(verified.tokens)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.text.as_mut().map_or(Ok(()), |text| text.select(rows))
    }

    fn join(&mut self, evaluator: &Evaluator<B>, prompts: &[Prompt]) -> Result<()> {
        match &mut self.text {
            Some(text) => text.join(prompts)?,
            None => self.alone = !evaluator.of_draft_alone(0, DRAFT)?.is_empty(),
        }
        Ok(())
    }

    fn report(&self) -> Option<&Report> {
        Some(&self.report)
    }
}
