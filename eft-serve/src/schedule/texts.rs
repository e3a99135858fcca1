//! [`Texts`]: a batch of texts that are being generated.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use eft::candle::Candle;
use eft::decode::{Batch, Event, FinishReason, Request};
use eft::{Decoding, Error, PromptReads, Result};
use prometheus_client::metrics::counter::Counter;

use super::job::{Attribution, End, EndReason, Generate, Job, Update};
use super::writer::Writer;
use super::{DraftCopy, Limits, Returned};
use crate::metrics::Metrics;
use crate::models::Source;

/// What texts of one batch have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    /// The combination as a formula.
    combination: String,
    /// Whether the models of terms that cancel run, too.
    every_term: bool,
}

/// A job whose texts are being generated, and what has been sent of each.
pub(super) struct Begun {
    pub(super) job: Job,
    pub(super) generate: Generate,
    answers: Vec<Answer>,
}

struct Answer {
    writer: Writer,
    /// How many pieces have been sent.
    sent: usize,
    /// How many pieces are still to be left out, since they were sent before the text was begun anew.
    skip: usize,
    /// Whether the last update has been sent.
    done: bool,
}

/// A batch of texts.
pub(super) struct Texts {
    pub(super) key: Key,
    batch: Batch<Candle>,
    /// The jobs by the first of their rows.
    jobs: BTreeMap<usize, Begun>,
    metrics: Arc<Metrics>,
    counted: Counted,
}

/// What the metrics have counted of a batch.
#[derive(Default)]
struct Counted {
    reads: PromptReads,
    drafted: usize,
    accepted: usize,
}

/// The tokens of which log-probabilities are reported at each position, where they are reported.
pub(super) const ALTERNATIVES: usize = 20;

/// The rivals against which contributions of terms are reported.
const RIVALS: usize = 3;

impl Begun {
    /// The job as it begins. It comes back with the error if its tokens cannot become text.
    pub(super) fn new(job: Job, generate: Generate) -> Result<Self, Returned<Job>> {
        let mut answers = Vec::new();
        for _ in 0..generate.samples {
            match Writer::new(job.source.vocab().clone(), &generate.stops) {
                Ok(writer) => answers.push(Answer { writer, sent: 0, skip: 0, done: false }),
                Err(error) => return Err(Box::new((job, error))),
            }
        }
        Ok(Self { job, generate, answers })
    }

    /// What the job needs to have in common with the others of its batch.
    pub(super) fn key(&self) -> Key {
        let every_term = self.generate.attribution == Some(Attribution::CancelledTerms);
        Key { combination: self.job.combination(), every_term }
    }

    /// The random numbers follow from the seed alone, so that a text does not depend on what else is being written.
    fn request(&self) -> Request {
        let Generate { samples, sampling, max_tokens, processors, alternatives, .. } = &self.generate;
        let mut request = Request::new(&self.job.prompt)
            .id(0)
            .sampling(*sampling)
            .max_tokens(*max_tokens)
            .samples(*samples)
            .alternatives(if *alternatives { ALTERNATIVES } else { 0 });
        request.processors.clone_from(processors);
        request.attribution = self.generate.attribution.map(|_| RIVALS);
        request
    }

    /// The job from its beginning; what has been sent will not be sent again.
    fn anew(self) -> Result<Self, Returned<Job>> {
        let before: Vec<_> = self.answers.iter().map(|a| (a.sent.max(a.skip), a.done)).collect();
        let mut anew = Self::new(self.job, self.generate)?;
        for (answer, (skip, done)) in anew.answers.iter_mut().zip(before) {
            (answer.skip, answer.done) = (skip, done);
        }
        Ok(anew)
    }

    fn unfinished(&self) -> usize {
        self.answers.iter().filter(|answer| !answer.done).count()
    }

    /// Sends an update, unless the text has ended or the update was sent before. Returns whether it is the first of its text.
    fn send(&mut self, answer: usize, update: Update) -> bool {
        let state = &mut self.answers[answer];
        if state.done {
            return false;
        }
        if let Update::Piece(_) = &update {
            state.sent += 1;
            if state.sent <= state.skip {
                return false;
            }
        }
        let first = state.sent == 1 && matches!(update, Update::Piece(_));
        state.done = matches!(update, Update::Finished(_) | Update::Failed(_));
        // A receiver that is gone needs no update.
        let _ = self.job.updates.send((self.job.first + answer, update));
        first
    }

    /// Ends all texts that have not ended.
    pub(super) fn end_all(&mut self, update: &Update) {
        for answer in 0..self.answers.len() {
            self.send(answer, update.clone());
        }
    }
}

/// What writes ahead while a batch has few rows.
#[derive(Clone, Copy)]
struct Drafts<'a> {
    /// The most rows; 0 if nothing does.
    rows: usize,
    /// The model, if it is not one of the combination's.
    model: Option<&'a Source>,
}

/// Opens a batch. Draft and target draw with the same random numbers, so that texts are those of plain decoding.
fn open(
    source: &Source,
    requests: &[Request],
    decoding: &Decoding,
    drafts: Drafts<'_>,
) -> Result<Batch<Candle>> {
    if drafts.rows > 0 {
        let speculative = || source.speculate().same_text().most_rows(drafts.rows);
        let by_model = drafts.model.map(|model| speculative().draft(model));
        for speculative in by_model.into_iter().chain([speculative()]) {
            match speculative.generate_batch(requests.to_vec(), decoding) {
                // No model of the combination can draft: it has only one, or others have tokens that it lacks.
                Err(Error::Unsupported { .. } | Error::VocabMismatch { .. }) => {}
                opened => return opened,
            }
        }
    }
    source.generate_batch(requests.to_vec(), decoding)
}

/// Opens a batch without a text, which the requests join: prompts that join are read in pieces. Returns it with the first of
/// their rows, and with what has been read of no prompt of theirs.
fn open_empty(
    source: &Source,
    requests: &[Request],
    decoding: &Decoding,
    drafts: Drafts<'_>,
) -> Result<(Batch<Candle>, usize, PromptReads)> {
    // Its text ends at once, and every vocabulary has the token.
    let nothing = [Request::new([0]).max_tokens(0)];
    let mut batch = open(source, &nothing, decoding, drafts)?;
    let (reads, rows) = (batch.prompt_reads(), batch.join(requests.to_vec())?);
    Ok((batch, rows.start, reads))
}

impl Texts {
    /// Opens a batch. If that fails, the jobs come back with the error.
    pub(super) fn open(
        jobs: Vec<Begun>,
        limits: Limits,
        draft: Option<&DraftCopy>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Returned<Vec<Begun>>> {
        let Some(first) = jobs.first() else {
            return Err(Box::new((jobs, Error::EmptyBatch { what: "a batch of texts" })));
        };
        let (key, source) = (first.key(), first.job.source.clone());
        let mut decoding =
            Decoding::default().unlimited().prefill(limits.prefill).cached_tokens(limits.cached_tokens);
        if key.every_term {
            decoding = decoding.attribution(RIVALS);
        }
        let requests: Vec<_> = jobs.iter().map(Begun::request).collect();
        let model = draft.and_then(|draft| draft.of_term(&source));
        let drafts = Drafts { rows: limits.drafted_rows, model };
        let opened = open_empty(&source, &requests, &decoding, drafts)
            // Some combinations take no token ids, such as those that put a system message before each conversation.
            .or_else(|_| Ok((open(&source, &requests, &decoding, drafts)?, 0, PromptReads::default())));
        let (batch, first, reads) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(Box::new((jobs, error))),
        };
        let counted = Counted { reads, ..Counted::default() };
        let mut texts = Self { key, batch, jobs: BTreeMap::new(), metrics, counted };
        texts.take_in(first, jobs);
        Ok(texts)
    }

    /// Adds to the metrics what the models have read and drafted since the last call.
    fn count(&mut self) {
        let (reads, report) = (self.batch.prompt_reads(), self.batch.report());
        let (drafted, accepted) = report.map_or((0, 0), |report| (report.drafted, report.accepted));
        let add = |counter: &Counter, now: usize, before: usize| counter.inc_by((now - before) as u64);
        let (metrics, before) = (&self.metrics, &self.counted);
        add(&metrics.prompt_tokens_read, reads.read, before.reads.read);
        add(&metrics.prompt_tokens_cached, reads.kept, before.reads.kept);
        add(&metrics.drafted, drafted, before.drafted);
        add(&metrics.accepted, accepted, before.accepted);
        self.counted = Counted { reads, drafted, accepted };
    }

    /// Adds jobs with the same key. If that fails, the jobs come back with the error.
    pub(super) fn join(&mut self, jobs: Vec<Begun>) -> Result<(), Returned<Vec<Begun>>> {
        match self.batch.join(jobs.iter().map(Begun::request)) {
            Ok(rows) => {
                self.metrics.joined.inc_by(rows.len() as u64);
                self.take_in(rows.start, jobs);
                Ok(())
            }
            Err(error) => Err(Box::new((jobs, error))),
        }
    }

    /// Remembers jobs whose rows begin with `row`.
    fn take_in(&mut self, mut row: usize, jobs: Vec<Begun>) {
        for begun in jobs {
            let rows = begun.answers.len();
            self.jobs.insert(row, begun);
            row += rows;
        }
    }

    /// The number of texts that have not ended.
    pub(super) fn rows(&self) -> usize {
        self.jobs.values().map(Begun::unfinished).sum()
    }

    /// The number of jobs that have not ended.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Runs one step of the models. After an error, the batch is of no more use, and the jobs that have not ended
    /// come back.
    pub(super) fn step(&mut self) -> Result<(), Returned<Vec<Begun>>> {
        self.metrics.step_rows.observe(self.rows() as f64);
        let advanced = self.batch.advance();
        self.count();
        let taken = advanced.and_then(|events| events.into_iter().try_for_each(|event| self.take(event)));
        taken.map_err(|error| Box::new((self.unfinished(), error)))
    }

    fn unfinished(&mut self) -> Vec<Begun> {
        let jobs = std::mem::take(&mut self.jobs).into_values();
        let anew = jobs.filter(|begun| begun.unfinished() > 0).map(Begun::anew);
        // What could be begun once can be begun again.
        anew.filter_map(Result::ok).collect()
    }

    fn take(&mut self, event: Event) -> Result<()> {
        let row = event.row();
        let Some((first, begun)) = self.jobs.range_mut(..=row).next_back() else { return Ok(()) };
        let (first, answer) = (*first, row - *first);
        let Some(state) = begun.answers.get_mut(answer).filter(|state| !state.done) else { return Ok(()) };
        let mut stopped = false;
        for update in state.writer.take(event, &self.metrics, begun.job.submitted)? {
            if let Update::Finished(End { reason: EndReason::Text(reason), .. }) = &update {
                stopped = matches!(reason, FinishReason::StopString(_));
            }
            if begun.send(answer, update) {
                self.metrics.first_token(begun.job.submitted.elapsed());
            }
        }
        if begun.unfinished() == 0 {
            self.jobs.remove(&first);
        }
        // The models would go on after a stop string, which they do not know.
        if stopped { self.batch.retire(row) } else { Ok(()) }
    }

    /// Ends the jobs that nobody waits for any more, and those whose time is up. After an error, the batch is of no more use,
    /// and the jobs that have not ended come back.
    pub(super) fn sweep(&mut self, now: Instant, stop: bool) -> Result<(), Returned<Vec<Begun>>> {
        let mut ended = Vec::new();
        for (first, begun) in &mut self.jobs {
            if begun.job.is_cancelled() {
                self.metrics.cancelled.inc_by(begun.unfinished() as u64);
            } else if stop || now >= begun.job.deadline {
                let reason = if stop { EndReason::Shutdown } else { EndReason::Deadline };
                begun.end_all(&Update::Finished(End { reason, tail: Vec::new() }));
            } else {
                continue;
            }
            ended.push((*first, begun.answers.len()));
        }
        for (first, rows) in ended {
            self.jobs.remove(&first);
            for row in first..first + rows {
                if let Err(error) = self.batch.retire(row) {
                    return Err(Box::new((self.unfinished(), error)));
                }
            }
        }
        Ok(())
    }
}
