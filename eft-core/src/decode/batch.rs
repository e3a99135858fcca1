use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::attribution::attribute;
use super::event::Event;
use super::open::Rows;
use super::report::Report;
use super::request::Request;
use super::row::{Row, Taken};
use super::step::{Bounds, Plain, Stepper, undo};
use super::stop::FinishReason;
use super::waiting::Waiting;
use crate::backend::Backend;
use crate::error::{in_row, with_sources};
use crate::evaluator::Evaluator;
use crate::sample::{Decoding, Sampler, Token};
use crate::{Error, PromptReads, Result, Vocab};

/// The texts of a batch of prompts: an iterator over [`Event`]s, row by row within each step.
///
/// Rows that have ended leave the batch, so the models run only unfinished rows, and requests can
/// [`join`](Self::join) at any time. The text of a row does not depend on
/// the other rows, except through rounding in the models' own arithmetic. A prompt that the models refuse is an
/// [`Event::Failed`] of its row, and so is a model's failure at one row ([`Error::RowFailed`]). Any other error while the
/// models run ends all rows, and the iterator with them.
///
/// ```
/// use eft_core::decode::Event;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
/// let model = from_fn(Host, vocab, |tokens| {
///     Ok(if tokens.len() < 3 { vec![0.0, 5.0, 0.0] } else { vec![0.0, 0.0, 5.0] })
/// });
/// let batch = model.generate_batch([vec![0], vec![], vec![0, 1]], Sampling::greedy())?;
/// let (mut tokens, mut failed) = ([0; 3], Vec::new());
/// for event in batch {
///     match event? {
///         Event::Token { row, .. } => tokens[row] += 1,
///         Event::Finished { .. } => {}
///         Event::Failed { row, .. } => failed.push(row), // the prompt is empty
///     }
/// }
/// assert_eq!((tokens, failed), ([2, 0, 1], vec![1]));
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct Batch<B: Backend> {
    pub(super) evaluator: Evaluator<B>,
    pub(super) sampler: Sampler<B>,
    pub(super) stepper: Box<dyn Stepper<B>>,
    pub(super) decoding: Decoding,
    vocab: Arc<Vocab>,
    /// For each row of the evaluator, its index in the batch. If there is none, the evaluator, the sampler and the stepper
    /// keep the rows that ended last, since they cannot be empty.
    pub(super) active: Vec<usize>,
    /// The rows that have not ended, by their indices.
    pub(super) rows: BTreeMap<usize, Row>,
    /// The number of rows so far.
    pub(super) total: usize,
    /// The number of requests so far.
    pub(super) requests: usize,
    /// The requests that have joined, and whose prompts have not been read.
    pub(super) waiting: VecDeque<Waiting<B>>,
    pub(super) events: VecDeque<Event>,
    /// The error that has ended all rows, if there was one.
    pub(super) failed: Option<String>,
}

impl<B: Backend> Batch<B> {
    /// Generates from an evaluator by its first root, after the tokens that have been pushed to it. Random numbers and
    /// processors continue as if the text had never been interrupted. Every row has the settings of `decoding`, and its index
    /// as its id; [`over_requests`](Self::over_requests) gives each row settings of its own.
    ///
    /// To continue a conversation, call [`into_evaluator`](Self::into_evaluator), [`Evaluator::reopen`], and then this
    /// function again with another seed.
    ///
    /// ```
    /// use eft_core::decode::Batch;
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |tokens| Ok(vec![0.0, (tokens.len() % 2) as f32]));
    /// let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(2);
    /// let mut first = model.generate([0], &decoding)?;
    /// first.by_ref().for_each(drop);
    /// let rest = Batch::over(first.into_evaluator(), decoding)?;
    /// assert_eq!(rest.count(), 3); // two tokens more, and the end
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`] if a setting is out of its range.
    /// * [`Error::StopIdCut`] or [`Error::StopIdOutOfRange`] if a stop id is not a token of all terms.
    /// * [`Error::Unknown`] if a processor asks for the prompt of a term that does not exist.
    pub fn over(evaluator: Evaluator<B>, decoding: Decoding) -> Result<Self> {
        let rows = Rows::of(&evaluator, &decoding)?;
        Self::start(evaluator, decoding, rows, Box::new(Plain))
    }

    /// Generates from an evaluator as [`over`](Self::over) does, each row with the id, seed, stops and limit of a request.
    /// A text that was interrupted goes on as it would have in one go if its request is passed again.
    ///
    /// The requests are those of the evaluator's rows, in their order; one for several samples continues as many rows.
    /// Their prompts are not read again. Limits count the tokens that are generated from now on.
    ///
    /// ```
    /// use eft_core::decode::{Batch, Request};
    /// use eft_core::{from_fn, Decoding, Host, Vocab};
    ///
    /// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0, 2.0]));
    /// let request = Request::new([0]).id(7).seed(3);
    /// let decoding = |tokens| Decoding::default().max_tokens(tokens);
    /// let whole = model.generate_batch([request.clone()], decoding(6))?.text()?.read();
    ///
    /// let mut first = model.generate_batch([request.clone()], decoding(4))?.text()?;
    /// first.by_ref().for_each(drop);
    /// let rest = Batch::over_requests(first.into_inner().into_evaluator(), [request], decoding(2))?.text()?.read();
    /// assert!(whole[0].as_ref().unwrap().ends_with(rest[0].as_ref().unwrap()));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`] unless the requests have a sample for each row of the evaluator.
    /// * The errors of [`over`](Self::over).
    pub fn over_requests<R: Into<Request>>(
        evaluator: Evaluator<B>,
        requests: impl IntoIterator<Item = R>,
        decoding: Decoding,
    ) -> Result<Self> {
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let rows = Rows::of_requests(&evaluator, &requests, &decoding)?;
        Self::start(evaluator, decoding, rows, Box::new(Plain))
    }

    /// Generates the rows of an evaluator by any stepper.
    pub(crate) fn start(
        evaluator: Evaluator<B>,
        decoding: Decoding,
        rows: Rows,
        stepper: Box<dyn Stepper<B>>,
    ) -> Result<Self> {
        let Some(vocab) = evaluator.vocabs(0)?.first().cloned() else {
            return Err(Error::NothingLeft { combination: evaluator.name(0)?.into() });
        };
        let pushed = || (0..evaluator.rows()).map(|row| evaluator.pushed(row));
        decoding.validate()?;
        let starts = rows.settings.iter().map(|row| row.start.clone());
        let sampler = Sampler::of_rows(evaluator.backend().clone(), starts)
            .with_prompts(|term, row| evaluator.prompt_tokens(term, row))?
            .with_generated(pushed())?;
        let total = rows.active.len() + rows.refused.len();
        let of_batch = rows.settings.into_iter().zip(&rows.active).zip(pushed());
        let of_batch =
            of_batch.map(|((settings, index), pushed)| (*index, Row::new(settings, pushed.len()))).collect();
        let failed = rows.refused.into_iter().map(|(row, error)| Event::Failed { row, error });
        let mut batch = Self {
            stepper,
            decoding,
            vocab,
            active: rows.active,
            rows: of_batch,
            total,
            requests: rows.requests,
            waiting: VecDeque::new(),
            events: failed.collect(),
            failed: None,
            sampler,
            evaluator,
        };
        batch.finish_empty()?;
        Ok(batch)
    }

    /// Ends the rows whose limit is 0 tokens.
    fn finish_empty(&mut self) -> Result<()> {
        let limited = |index: &usize| self.rows.get(index).is_some_and(Row::is_empty);
        let (ended, going_on): (Vec<_>, Vec<_>) =
            (0..self.active.len()).partition(|i| limited(&self.active[*i]));
        for row in ended.iter().map(|i| self.active[*i]).collect::<Vec<_>>() {
            self.finish(row, FinishReason::MaxTokens);
        }
        self.keep(&going_on)
    }

    /// Makes the active rows of these indices the only active ones, and drops the others from the evaluator and the
    /// sampler. If none go on, the evaluator and the sampler keep their rows, since they cannot be empty.
    pub(super) fn keep(&mut self, going_on: &[usize]) -> Result<()> {
        let all = going_on.len() == self.active.len();
        if !all {
            let mut goes_on = vec![false; self.active.len()];
            going_on.iter().for_each(|index| goes_on[*index] = true);
            let ended = self.active.iter().zip(goes_on).filter(|(_, goes_on)| !goes_on);
            ended.for_each(|(row, _)| drop(self.rows.remove(row)));
        }
        self.active = going_on.iter().map(|index| self.active[*index]).collect();
        if !going_on.is_empty() && !all {
            self.evaluator.select(going_on)?;
            self.sampler.select(going_on)?;
            self.stepper.select(going_on)?;
        }
        Ok(())
    }

    /// Returns the open models. Continue the texts with [`over`](Self::over) or [`over_requests`](Self::over_requests), or
    /// use other prompts with [`Evaluator::reopen`].
    ///
    /// The models hold every token but an end-of-sequence token, and one for which no context had room. A row is removed when
    /// it ends, except that the rows that end last, in the same step, stay. Requests whose prompts have not been read are
    /// dropped.
    pub fn into_evaluator(self) -> Evaluator<B> {
        self.evaluator
    }

    /// Returns the vocabulary of the first model, whose tokens the other models share.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// Returns the number of rows, including those that have ended or failed.
    pub fn rows(&self) -> usize {
        self.total
    }

    /// Returns the stop strings of each of these rows' requests, and whether the text keeps the one that ends it.
    pub(super) fn stop_strings(&self, rows: Range<usize>) -> impl Iterator<Item = (Vec<String>, bool)> + '_ {
        let of = |row: &Row| (row.settings.stop_strings.clone(), row.settings.keep_stop);
        rows.map(move |row| self.rows.get(&row).map(of).unwrap_or_default())
    }

    /// Returns how many tokens of prompts the models have read so far, and how many were in a cache already.
    pub fn prompt_reads(&self) -> PromptReads {
        self.evaluator.prompt_reads()
    }

    /// Returns statistics of speculative decoding so far; `None` for plain decoding. See
    /// [`speculate`](crate::speculate).
    pub fn report(&self) -> Option<&Report> {
        self.stepper.report()
    }

    /// Generates one token for each unfinished row, or several if they are drafted. A row that fails by itself is ended.
    pub(super) fn step(&mut self) -> Result<()> {
        self.admit()?;
        if self.active.is_empty() {
            return Ok(());
        }
        match self.try_step() {
            Err(Error::RowFailed { row: index, source }) if index < self.active.len() => {
                let (row, error) = (self.active[index], Arc::new(*source));
                self.events.push_back(Event::Failed { row, error });
                self.keep(&(0..self.active.len()).filter(|i| *i != index).collect::<Vec<_>>())
            }
            done => done,
        }
    }

    fn try_step(&mut self) -> Result<()> {
        let starts: Vec<_> = (0..self.evaluator.rows()).map(|row| self.evaluator.pushed(row).len()).collect();
        let chosen = self.choose(&starts).map_err(|error| {
            // The term at fault is searched for before its scores are dropped.
            let error =
                in_row(self.evaluator.explain(0, error), |row| self.active.get(row).copied().unwrap_or(row));
            undo(&mut self.evaluator, &mut self.sampler, &starts);
            error
        })?;
        self.evaluator.commit();
        self.take(chosen)
    }

    /// Chooses the next tokens of each row, and attributes those of the rows for which that was requested.
    fn choose(&mut self, starts: &[usize]) -> Result<Vec<Vec<Token>>> {
        let (mut left, mut stops, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
        for (index, start) in self.active.iter().zip(starts) {
            let Some(row) = self.rows.get(index) else { continue };
            left.push(row.left(*start));
            stops.push(&row.settings.stops);
            rivals.push(row.settings.rivals);
        }
        let bounds = Bounds { left, stops };
        let mut chosen = self.stepper.step(&mut self.evaluator, &mut self.sampler, &bounds)?;
        attribute(&mut self.evaluator, &mut chosen, &rivals, starts)?;
        Ok(chosen)
    }

    /// Takes the tokens that were chosen for each row: all but the last of them have been pushed.
    fn take(&mut self, chosen: Vec<Vec<Token>>) -> Result<()> {
        let room = self.evaluator.room_for(0)?;
        let mut pushes = vec![Vec::new(); chosen.len()];
        // Tokens after the end of a text, which have been pushed.
        let mut excess = vec![0; chosen.len()];
        let mut going_on = Vec::new();
        for (index, tokens) in chosen.into_iter().enumerate() {
            let row = self.active[index];
            match self.yield_tokens(row, tokens) {
                Taken::Ended { unused } => excess[index] = unused,
                Taken::Full { last } => {
                    // The last token is recorded but not fed, so that the whole text can be continued later.
                    if room[index] > 0 {
                        pushes[index].push(last);
                    }
                    self.finish(row, FinishReason::MaxTokens);
                }
                Taken::GoesOn { .. } if room[index] == 0 => self.finish(row, FinishReason::ContextFull),
                Taken::GoesOn { last } => {
                    pushes[index].extend(last);
                    going_on.push(index);
                }
            }
        }
        if excess.iter().any(|count| *count > 0) {
            self.evaluator.rollback(&excess)?;
        }
        self.evaluator.push(&pushes)?;
        self.keep(&going_on)
    }

    /// Yields the tokens of one row, up to the end of its text.
    fn yield_tokens(&mut self, index: usize, tokens: Vec<Token>) -> Taken {
        match self.rows.get_mut(&index) {
            Some(row) => row.take(index, tokens, &mut self.events),
            None => Taken::Ended { unused: 0 },
        }
    }

    /// Ends a row whose last tokens belong to its text.
    pub(super) fn finish(&mut self, index: usize, reason: FinishReason) {
        if let Some(row) = self.rows.get_mut(&index) {
            row.finish(index, reason, &mut self.events);
        }
    }
}

impl<B: Backend> Iterator for Batch<B> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let unfinished = |batch: &Self| !batch.active.is_empty() || !batch.waiting.is_empty();
        while self.events.is_empty() && unfinished(self) && self.failed.is_none() {
            if let Err(error) = self.step() {
                self.failed = Some(with_sources(&error));
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl<B: Backend> std::fmt::Debug for Batch<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("evaluator", &self.evaluator)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
