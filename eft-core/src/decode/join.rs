//! Requests that join a running batch, and rows that leave it.
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::batch::Batch;
use super::event::Event;
use super::open::{Rows, rows_of};
use super::request::Request;
use super::row::Row;
use super::stop::{FinishReason, StopRules};
use super::waiting::Waiting;
use crate::backend::Backend;
use crate::error::{in_row, with_sources};
use crate::{Error, Result};

impl<B: Backend> Batch<B> {
    /// Adds requests to the running batch, after the rows that there are, and returns their rows. Also a batch of which all
    /// rows have ended accepts more: its iterator then goes on.
    ///
    /// Nothing runs in this call. The next step of the iterator reads the prompts and generates the first tokens of the new
    /// rows along with the next tokens of the others. A prompt that the models refuse, or fail to read, is an
    /// [`Event::Failed`] of its rows, and the other rows go on.
    ///
    /// A text depends neither on when its row joined nor on the other rows, except through rounding in the models' own
    /// arithmetic, if its request has an [id](Request::id). The default id is the number of requests before it, since the
    /// batch was opened. With speculation, the texts of sampling by [rejection](crate::speculate) also depend on how long the
    /// drafts are, which follows measured times unless [`block`](crate::speculate::Speculative::block) fixes it.
    ///
    /// The new rows have the settings of the batch's [`Decoding`](super::Decoding), where their requests set none.
    ///
    /// ```
    /// use eft_core::decode::{Event, Request};
    /// use eft_core::{from_fn, Decoding, Host, Vocab};
    ///
    /// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
    /// let model = from_fn(Host, vocab, |tokens| Ok(vec![0.0, 1.0, tokens.len() as f32 % 2.0]));
    /// let request = Request::new([0, 1]).id(7).seed(3);
    /// let decoding = Decoding::default().max_tokens(5);
    /// let alone: Vec<_> = model.generate_batch([request.clone()], &decoding)?.collect();
    ///
    /// let mut batch = model.generate_batch([[0]], &decoding)?;
    /// batch.next(); // a token of the first row
    /// let rows = batch.join([request])?;
    /// let joined: Vec<_> = batch.filter(|event| event.as_ref().is_ok_and(|event| rows.contains(&event.row()))).collect();
    /// assert_eq!(joined.len(), alone.len());
    /// for (joined, alone) in joined.into_iter().zip(alone) {
    ///     if let (Event::Token { token: joined, .. }, Event::Token { token: alone, .. }) = (joined?, alone?) {
    ///         assert_eq!(joined, alone);
    ///     }
    /// }
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`] if a setting of a request is out of its range.
    /// * [`Error::StopIdOutOfRange`] if a stop id can never be generated.
    /// * [`Error::Poisoned`] after an error that has ended all rows.
    ///
    /// None of the requests has joined then.
    pub fn join<R: Into<Request>>(&mut self, requests: impl IntoIterator<Item = R>) -> Result<Range<usize>> {
        if let Some(cause) = &self.failed {
            return Err(Error::Poisoned { cause: cause.clone() });
        }
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        requests.iter().try_for_each(Request::validate)?;
        let rules = StopRules::new(&self.evaluator, 0, &self.decoding)?;
        let (width, mut joined) = (self.evaluator.width(0)?, Rows::none(requests.len()));
        let of_requests = rows_of(&requests);
        for ((index, request), rows) in (self.requests..).zip(&requests).zip(&of_requests) {
            let stops = rules.of_request(request.stop_ids.as_ref(), &request.stop_sequences, width)?;
            joined.add(rows.clone(), index, request, &stops, &self.decoding);
        }

        let first = self.total;
        self.total += joined.settings.len();
        self.requests += requests.len();
        for (row, settings) in (first..).zip(joined.settings) {
            self.rows.insert(row, Row::new(settings, 0));
        }
        for (request, rows) in requests.into_iter().zip(of_requests) {
            let mut rows: Vec<_> = rows.map(|row| first + row).collect();
            match self.evaluator.plan_row(&request.prompt) {
                Err(error) => self.refuse(rows, error),
                Ok(_) if request.max_tokens.or(self.decoding.max_tokens) == Some(0) => {
                    rows.iter().for_each(|row| self.finish(*row, FinishReason::MaxTokens));
                    rows.drain(..).for_each(|row| drop(self.rows.remove(&row)));
                }
                Ok(leaves) if request.attribution.is_some() && !self.evaluator.runs_every_term(&leaves) => {
                    let what = "attribution in a batch that was opened without it, since terms of it cancel";
                    let who = self.evaluator.name(0)?.into();
                    self.refuse(rows, Error::Unsupported { who, what: what.into() });
                }
                Ok(leaves) => {
                    let (key, prompt) = (rows[0], request.prompt);
                    self.waiting.push_back(Waiting { rows, key, prompt, leaves });
                }
            }
        }
        Ok(first..self.total)
    }

    /// Runs at most one step, and returns all events that there are: those that the iterator has not yielded, without a step, or
    /// those of the next step. There are none if the step only read a [piece](crate::Decoding::prefill) of a prompt, if every
    /// new token may turn out to belong to a stop sequence, or if no row is left.
    ///
    /// A server calls this between taking in requests, since the iterator runs steps until there is an event.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
    /// let mut batch = model.generate_batch([[0], [1]], Decoding::default().max_tokens(2))?;
    /// assert_eq!(batch.advance()?.len(), 2);
    /// batch.join([[0]])?;
    /// assert_eq!(batch.advance()?.len(), 5); // two of the rows end
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of the iterator's own, which ends all rows.
    pub fn advance(&mut self) -> Result<Vec<Event>> {
        if self.events.is_empty() && self.failed.is_none() {
            self.step().inspect_err(|error| self.failed = Some(with_sources(error)))?;
        }
        Ok(self.events.drain(..).collect())
    }

    /// Returns the number of rows that are being generated.
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// Returns the number of rows whose prompts have not been read yet.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.rows.len()).sum()
    }

    /// Ends a row whose text is no longer wanted, without an event. Its events that have not been yielded are dropped.
    /// A row that has ended, or does not exist, is ignored.
    ///
    /// # Errors
    /// Any error of a model that drops the row; all rows have ended then.
    pub fn retire(&mut self, row: usize) -> Result<()> {
        self.events.retain(|event| event.row() != row);
        if self.failed.is_some() {
            return Ok(());
        }
        let others: Vec<_> = (0..self.active.len()).filter(|index| self.active[*index] != row).collect();
        let retired = match others.len() == self.active.len() {
            true => self.retire_waiting(row),
            false => self.keep(&others),
        };
        retired.inspect_err(|error| self.failed = Some(with_sources(error)))
    }

    /// Ends rows whose prompt cannot be read.
    fn refuse(&mut self, rows: Vec<usize>, error: Error) {
        let first = rows.first().copied();
        let error = Arc::new(in_row(error, |row| first.unwrap_or(row)));
        for row in rows {
            self.rows.remove(&row);
            self.events.push_back(Event::Failed { row, error: error.clone() });
        }
    }

    /// Ends a row whose prompt has not been read, if it is one.
    ///
    /// # Errors
    /// Any error of a model that drops what it has read of the prompt.
    pub(super) fn retire_waiting(&mut self, row: usize) -> Result<()> {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.rows.contains(&row)) else {
            return Ok(());
        };
        self.rows.remove(&row);
        self.waiting[index].rows.retain(|other| *other != row);
        match self.waiting[index].rows.is_empty() {
            true => self.waiting.remove(index).map_or(Ok(()), |waiting| self.evaluator.release(waiting.key)),
            false => Ok(()),
        }
    }

    /// Reads the prompts of requests that wait, and takes their rows into the batch. Requests whose prompts cannot be read are
    /// ended.
    ///
    /// # Errors
    /// Any error that leaves the models unusable.
    pub(super) fn admit(&mut self) -> Result<()> {
        let mut due = self.due()?;
        let mut together = due.len();
        while !due.is_empty() {
            together = together.clamp(1, due.len());
            let Err(error) = self.read(due.make_contiguous().split_at(together).0) else {
                due.drain(..together).try_for_each(|waiting| self.evaluator.release(waiting.key))?;
                continue;
            };
            if self.failed.is_some() || self.evaluator.check_poison().is_err() {
                return Err(error);
            }
            match error {
                Error::RowFailed { row, source } if row < together => {
                    self.end_one(due.remove(row), *source)?
                }
                error if together == 1 => self.end_one(due.pop_front(), error)?,
                // The prompts are read one by one, to find those that cannot be read.
                _ => together = 1,
            }
        }
        Ok(())
    }

    /// Takes the requests whose prompts are read to their ends in this step, and reads a piece of one that is longer.
    fn due(&mut self) -> Result<VecDeque<Waiting<B>>> {
        let Some(most) = self.decoding.prefill else { return Ok(std::mem::take(&mut self.waiting)) };
        let (mut left, mut piece) = (most, most);
        let (mut due, mut later) = (VecDeque::new(), VecDeque::new());
        while let Some(waiting) = self.waiting.pop_front() {
            if left == 0 && piece == 0 {
                later.push_back(waiting);
                continue;
            }
            let unread = self.evaluator.unread(&waiting.leaves);
            if unread <= left {
                left -= unread;
                due.push_back(waiting);
            } else if unread <= most {
                // Those behind it do not overtake it.
                left = 0;
                later.push_back(waiting);
            } else if std::mem::take(&mut piece) == 0 {
                later.push_back(waiting);
            } else {
                match self.evaluator.read_piece(&waiting.leaves, waiting.key, most) {
                    Ok(()) => later.push_back(waiting),
                    Err(error) if self.evaluator.check_poison().is_err() => return Err(error),
                    Err(Error::RowFailed { source, .. }) => self.end_one(Some(waiting), *source)?,
                    Err(error) => self.end_one(Some(waiting), error)?,
                }
            }
        }
        self.waiting = later;
        Ok(due)
    }

    /// Ends the rows of a request whose prompt cannot be read.
    fn end_one(&mut self, waiting: Option<Waiting<B>>, error: Error) -> Result<()> {
        let Some(Waiting { rows, key, .. }) = waiting else { return Ok(()) };
        self.refuse(rows, error);
        self.evaluator.release(key)
    }

    /// Reads prompts, each once, and takes in a row for each of their samples. A failure that does not poison the evaluator
    /// takes in none, and names the request by its index.
    fn read(&mut self, joining: &[Waiting<B>]) -> Result<()> {
        let old = self.evaluator.rows();
        let planned: Vec<_> = joining.iter().map(|waiting| (&waiting.prompt, &waiting.leaves)).collect();
        self.evaluator.join_planned(&planned).map_err(|error| match error {
            Error::RowFailed { row, source } => Error::RowFailed { row: row.saturating_sub(old), source },
            other => other,
        })?;
        let before: Vec<_> = (0..old).collect();
        let samples =
            || joining.iter().enumerate().flat_map(|(i, w)| w.rows.iter().map(move |row| (i, *row)));
        let origins: Vec<_> = samples().map(|(index, _)| old + index).collect();
        let prompts: Vec<_> = joining.iter().map(|waiting| waiting.prompt.clone()).collect();
        let start = |(_, row): (_, usize)| self.rows.get(&row).map(|row| row.settings.start.clone());
        let evaluator = &self.evaluator;
        let prompt = |term: &str, row: usize| evaluator.prompt_tokens(term, origins[row - old]);
        let sampled = self.sampler.join(samples().filter_map(start), prompt);
        let taken = sampled.and_then(|()| {
            let drafted = self.stepper.join(&self.evaluator, &prompts);
            drafted.or_else(|error| self.sampler.select(&before).and(Err(error)))
        });
        if let Err(error) = taken {
            // As if they had not joined. An evaluator that fails at this is poisoned.
            let _ = self.evaluator.select(&before);
            return Err(error);
        }
        let selected = self.take_in(samples().map(|(_, row)| row), origins, old);
        selected.inspect_err(|error| self.failed = Some(with_sources(error)))
    }

    /// Makes rows of the batch of the evaluator's rows `origins`, which have joined it after the `old` ones that it had, and of
    /// the sampler's last rows. Rows that have ended, and were kept only because there was no other, are dropped.
    fn take_in(&mut self, rows: impl Iterator<Item = usize>, origins: Vec<usize>, old: usize) -> Result<()> {
        let kept: Vec<_> = if self.active.is_empty() { Vec::new() } else { (0..old).collect() };
        if kept.len() < old {
            self.sampler.select(&(old..old + origins.len()).collect::<Vec<_>>())?;
        }
        self.active.extend(rows);
        let selected = [kept, origins].concat();
        if !selected.iter().copied().eq(0..self.evaluator.rows()) {
            self.evaluator.select(&selected)?;
            self.stepper.select(&selected)?;
        }
        Ok(())
    }
}
