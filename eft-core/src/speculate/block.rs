//! One block of speculative decoding: tokens are drafted, and the target verifies them.
use std::time::{Duration, Instant};

use super::acceptance::{Acceptance, Verdict};
use super::draft::{DRAFT, Draft, Origin};
use super::lookup::{Found, LookupDraft};
use super::scheduler::{DraftScheduler, DraftTime, Judged, Lengths, Measured, Step};
use super::text_draft::TextDraft;
use super::verify::{Verified, verify};
use crate::backend::Backend;
use crate::decode::Report;
use crate::decode::step::{Bounds, Plain, Stepper, any_forced};
use crate::evaluator::Evaluator;
use crate::sample::{Purpose, Sampler, Token};
use crate::{Prompt, Result, TokenId};

/// The model that drafts for an evaluator whose first root is the target.
pub(super) enum Drafter<B: Backend> {
    /// None: drafts are found by lookup.
    None,
    /// The evaluator's second root.
    Root,
    /// A model that writes text.
    Text(TextDraft<B>),
}

/// Speculative decoding of the rows of an evaluator.
pub(super) struct SpeculativeStepper<B: Backend> {
    drafter: Drafter<B>,
    lookup: Option<LookupDraft>,
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
        drafter: Drafter<B>,
        acceptance: Acceptance,
        scheduler: DraftScheduler,
    ) -> Result<Self> {
        let (report, most_rows, lookup) = (Report::default(), usize::MAX, None);
        let alone = drafter.is_alone(evaluator)?;
        Ok(Self { drafter, lookup, acceptance, scheduler, most_rows, report, alone })
    }

    /// The same, with lookups.
    pub(super) fn lookup(self, lookup: Option<LookupDraft>) -> Self {
        Self { lookup, ..self }
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

    /// Drafts for each row: what a lookup has found, or else what the model writes. The scheduler chooses the lengths. They
    /// are limited by the number of tokens still to be written (the last of which is the target's own) and by the room of
    /// the models' contexts.
    fn draft(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        bounds: &Bounds<'_>,
    ) -> Result<(Draft<B>, bool)> {
        let began = Instant::now();
        let found = self.look_up(evaluator, sampler);
        let kinds: Vec<_> = found.iter().map(|found| found.map(|found| found.kind)).collect();
        let lengths = self.scheduler.next(&kinds, !matches!(self.drafter, Drafter::None));
        let left = bounds.left.iter().zip(evaluator.room());
        let most: Vec<_> = left.map(|(left, room)| left.saturating_sub(1).min(room)).collect();
        let looked_up = self.tokens(&found, &lengths, &most);
        let looking = began.elapsed().as_secs_f64();

        let longest = match self.drafter {
            Drafter::Root => lengths.most_by_model(),
            Drafter::None | Drafter::Text(_) => lengths.by_model,
        };
        let mut by_model: Vec<_> = most.iter().map(|most| longest.min(*most)).collect();
        looked_up.iter().for_each(|(row, _)| by_model[*row] = 0);
        let mut draft = match &mut self.drafter {
            Drafter::None => Draft::none(evaluator),
            Drafter::Root => {
                let purpose = match self.acceptance {
                    Acceptance::Agreement => Purpose::Draw,
                    Acceptance::Rejection => Purpose::Draft,
                };
                Draft::write(evaluator, sampler, &by_model, lengths.end.as_ref(), bounds, purpose)?
            }
            Drafter::Text(text) => text.write(evaluator, sampler, &by_model, bounds)?,
        };
        if !looked_up.is_empty() {
            draft.add(evaluator, sampler, looked_up, Origin::Lookup, bounds)?;
        }
        self.report.draft_time += Duration::from_secs_f64(looking);
        Ok((draft, found.iter().any(Option::is_some)))
    }

    /// What a lookup finds for each row.
    fn look_up(&mut self, evaluator: &Evaluator<B>, sampler: &Sampler<B>) -> Vec<Option<Found>> {
        match &mut self.lookup {
            Some(lookup) => {
                self.scheduler.judge(&lookup.follow(sampler));
                lookup.find()
            }
            None => vec![None; evaluator.rows()],
        }
    }

    /// The tokens that were found, of the rows where they are used.
    fn tokens(
        &self,
        found: &[Option<Found>],
        lengths: &Lengths,
        most: &[usize],
    ) -> Vec<(usize, Vec<TokenId>)> {
        let Some(lookup) = &self.lookup else { return Vec::new() };
        let used = found.iter().zip(most).enumerate().filter_map(|(row, (found, most))| {
            let found = found.as_ref()?;
            let length = lengths.by_lookup[found.kind.index()].min(*most);
            (length > 0).then(|| (row, lookup.tokens(found, length)))
        });
        used.collect()
    }

    /// Reports a block to the scheduler, and adds it to the report. `found` says whether a lookup has found anything, and
    /// `target` is the time of the verification in seconds.
    fn learn(&mut self, draft: &Draft<B>, found: bool, verified: &Verified, target: f64) {
        let rows = draft.rows.len();
        let (by_lookup, by_model) = (Counts::of(draft, verified, true), Counts::of(draft, verified, false));
        let looked_up = by_model.drafted == 0 && by_lookup.drafted > 0;
        let (learned, other) = if looked_up { (by_lookup, by_model) } else { (by_model, by_lookup) };
        let measured = Measured {
            rows,
            drafted: draft.longest().max(draft.passes()),
            accepted: learned.accepted,
            judged: learned.judged,
            accepted_of_others: other.accepted,
            passes: draft.passes(),
            draft: DraftTime::of(&draft.seconds),
            target,
            // The scores after a prompt are known from reading it.
            ran: draft.starts.iter().any(|tokens| *tokens > 0),
        };
        let tokens = verified.tokens.iter().map(Vec::len).max().unwrap_or(0);
        let drawn = judged(draft, verified);
        self.scheduler.learn(&Step { block: measured, drawn: &drawn, looked_up, found, tokens });

        let tokens: usize = verified.tokens.iter().map(Vec::len).sum();
        let report = &mut self.report;
        report.tokens += tokens;
        report.row_steps += rows;
        report.drafted += by_model.drafted + by_lookup.drafted;
        report.judged += by_model.judged + by_lookup.judged;
        report.accepted += by_model.accepted + by_lookup.accepted;
        report.looked_up += by_lookup.drafted;
        report.looked_up_judged += by_lookup.judged;
        report.looked_up_accepted += by_lookup.accepted;
        report.draft_passes += draft.passes();
        report.draft_time += Duration::from_secs_f64(measured.draft.total());
        if measured.drafted == 0 {
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

impl<B: Backend> Drafter<B> {
    /// Whether the draft contains a model of the target that shares no session with the target's other models.
    fn is_alone(&self, evaluator: &Evaluator<B>) -> Result<bool> {
        match self {
            Self::Root => Ok(!evaluator.of_draft_alone(0, DRAFT)?.is_empty()),
            Self::None | Self::Text(_) => Ok(false),
        }
    }
}

/// The judged tokens of rows whose draft was drawn.
fn judged<B: Backend>(draft: &Draft<B>, verified: &Verified) -> Vec<Judged> {
    let rows = draft.rows.iter().zip(&verified.verdicts).filter(|(row, _)| row.origin == Origin::Drawn);
    rows.flat_map(|(row, verdict)| Judged::all(&row.log_probs, verdict.accepted, verdict.judged)).collect()
}

/// The tokens of one kind of draft in a block, over all rows.
#[derive(Clone, Copy, Default)]
struct Counts {
    drafted: usize,
    judged: usize,
    accepted: usize,
}

impl Counts {
    fn of<B: Backend>(draft: &Draft<B>, verified: &Verified, by_lookup: bool) -> Self {
        let mut counts = Self::default();
        let rows = draft.rows.iter().zip(&verified.verdicts);
        for (row, Verdict { accepted, judged }) in
            rows.filter(|(row, _)| (row.origin == Origin::Lookup) == by_lookup)
        {
            counts.drafted += row.tokens.len();
            counts.judged += judged;
            counts.accepted += accepted;
        }
        counts
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
        let (draft, found) = self.draft(evaluator, sampler, bounds)?;
        let began = Instant::now();
        let verified = verify(evaluator, sampler, &draft, self.acceptance, self.alone)?;
        self.learn(&draft, found, &verified, began.elapsed().as_secs_f64());

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
        if let Drafter::Text(text) = &mut self.drafter {
            text.select(rows)?;
        }
        self.lookup.iter_mut().for_each(|lookup| lookup.select(rows));
        Ok(())
    }

    fn join(&mut self, evaluator: &Evaluator<B>, prompts: &[Prompt]) -> Result<()> {
        match &mut self.drafter {
            Drafter::Text(text) => text.join(prompts)?,
            drafter => self.alone = drafter.is_alone(evaluator)?,
        }
        self.lookup.iter_mut().for_each(|lookup| lookup.join(evaluator));
        Ok(())
    }

    fn report(&self) -> Option<&Report> {
        Some(&self.report)
    }
}
