use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::pieces::{Piece, Pieces, check_vocab};
use crate::backend::Backend;
use crate::decode::batch::Batch;
use crate::decode::event::Event;
use crate::decode::request::{Request, check_stop_strings};
use crate::decode::stop::{FinishReason, Finished};
use crate::{Error, Result, Vocab};

/// The texts of a batch, piece by piece: an iterator over any iterator of [`Event`]s.
///
/// ```
/// use eft_core::decode::TextEvent;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = from_fn(Host, vocab, |tokens| Ok(vec![0.0, if tokens[0] == 0 { -9.0 } else { 9.0 }]));
/// let batch = model.generate_batch([[0], [1]], Decoding::default().max_tokens(2))?.text()?;
/// let mut texts = [String::new(), String::new()];
/// for event in batch {
///     if let TextEvent::Piece { row, piece } = event? {
///         texts[row] += &piece.text;
///     }
/// }
/// assert_eq!(texts, ["aa", "bb"]);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct TextBatch<I> {
    events: I,
    /// Ends a row whose text is no longer wanted.
    retire: Option<fn(&mut I, usize) -> Result<()>>,
    vocab: Arc<Vocab>,
    /// The texts that have not ended, by their rows.
    rows: BTreeMap<usize, Pieces>,
    /// The number of rows so far.
    total: usize,
    /// The stop strings of all rows.
    stops: Vec<String>,
    /// Whether the stop string that ends a text is part of it, if that was set for all rows.
    keep_stop: Option<bool>,
    ready: VecDeque<TextEvent>,
    failed: bool,
}

/// An event of the text of one row: a piece, the end, or a failure.
#[derive(Debug, Clone)]
pub enum TextEvent {
    /// The next part of the text.
    Piece {
        /// The row.
        row: usize,
        /// The part.
        piece: Piece,
    },
    /// The text has ended. This is the last event of its row.
    Finished {
        /// The row.
        row: usize,
        /// How the text ended.
        finished: Finished,
    },
    /// The row cannot be generated: see [`Event::Failed`].
    Failed {
        /// The row.
        row: usize,
        /// A description of the fault.
        error: Arc<Error>,
    },
}

/// How the tokens of a row become text.
pub(crate) struct RowText {
    pub(crate) vocab: Arc<Vocab>,
    /// The stop strings of the row's request.
    pub(crate) stops: Vec<String>,
    /// Whether the stop string that ends the text is part of it.
    pub(crate) keep_stop: bool,
}

impl<I: Iterator<Item = Result<Event>>> TextBatch<I> {
    /// Creates the texts of `rows` rows of tokens of a vocabulary. Rows that a stop string has ended may run on unseen;
    /// [`retiring`](Self::retiring) ends them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the vocabulary does not know the bytes of its tokens.
    pub fn new(events: I, vocab: Arc<Vocab>, rows: usize) -> Result<Self> {
        check_vocab(&vocab)?;
        Ok(Self {
            events,
            retire: None,
            rows: (0..rows).map(|row| (row, Pieces::new(vocab.clone()))).collect(),
            total: rows,
            vocab,
            stops: Vec::new(),
            keep_stop: None,
            ready: VecDeque::new(),
            failed: false,
        })
    }

    /// Creates the texts of rows that each have a vocabulary and stop strings of their own. `vocab` is that of rows that
    /// appear later.
    pub(crate) fn of_rows(
        events: I,
        vocab: Arc<Vocab>,
        rows: Vec<RowText>,
        retire: fn(&mut I, usize) -> Result<()>,
    ) -> Result<Self> {
        rows.iter().try_for_each(|row| check_vocab(&row.vocab))?;
        let mut batch = Self::new(events, vocab, 0)?.retiring(retire);
        rows.into_iter().for_each(|row| batch.add(row));
        Ok(batch)
    }

    /// Adds a row at the end, which also has the settings of all rows.
    fn add(&mut self, row: RowText) {
        let RowText { vocab, stops, keep_stop } = row;
        let mut pieces = Pieces::new(vocab);
        stops.into_iter().chain(self.stops.iter().cloned()).for_each(|stop| pieces.until(stop));
        pieces.keep_stop(self.keep_stop.unwrap_or(keep_stop));
        self.rows.insert(self.total, pieces);
        self.total += 1;
    }

    /// Sets the function that ends a row whose text is no longer wanted, such as [`Batch::retire`].
    #[must_use]
    pub fn retiring(self, retire: fn(&mut I, usize) -> Result<()>) -> Self {
        Self { retire: Some(retire), ..self }
    }

    /// Also ends every text before this string, wherever its tokens begin and end.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if the string is empty.
    pub fn until(mut self, stop: impl Into<String>) -> Result<Self> {
        self.stops.push(stop.into());
        check_stop_strings(&self.stops)?;
        let stop = &self.stops[self.stops.len() - 1];
        self.rows.values_mut().for_each(|row| row.until(stop.clone()));
        Ok(self)
    }

    /// Also ends every text before any of these strings, wherever their tokens begin and end.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if a string is empty.
    pub fn until_any<S: Into<String>>(self, stops: impl IntoIterator<Item = S>) -> Result<Self> {
        stops.into_iter().try_fold(self, Self::until)
    }

    /// Sets whether the stop string that ends a text is part of it, for all texts. By default it is not, unless a
    /// [request](method@crate::decode::Request::keep_stop) says so.
    #[must_use]
    pub fn keep_stop(mut self, keep: bool) -> Self {
        self.keep_stop = Some(keep);
        self.rows.values_mut().for_each(|row| row.keep_stop(keep));
        self
    }

    /// Returns a reference to the iterator of the events.
    pub fn inner(&self) -> &I {
        &self.events
    }

    /// Returns the iterator of the events.
    pub fn into_inner(self) -> I {
        self.events
    }

    /// Reads all texts to their ends. Returns for each row its text, or the error that kept it from its end: the row's
    /// own, or one that ended all rows.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
    /// let decoding = Decoding::from(Sampling::greedy()).max_tokens(3);
    /// let texts = model.generate_batch([vec![0], vec![]], decoding)?.text()?.read();
    /// assert_eq!(texts[0].as_ref().unwrap(), "bbb");
    /// assert!(texts[1].is_err()); // the prompt is empty
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn read(mut self) -> Vec<Result<String, Arc<Error>>> {
        let mut texts: Vec<_> = (0..self.total).map(|_| Ok(String::new())).collect();
        let mut done = vec![false; texts.len()];
        let mut cause = None;
        for event in self.by_ref() {
            let (row, text, last) = match event {
                Ok(TextEvent::Piece { row, piece }) => (row, Ok(piece.text), false),
                Ok(TextEvent::Finished { row, .. }) => (row, Ok(String::new()), true),
                Ok(TextEvent::Failed { row, error }) => (row, Err(error), true),
                Err(error) => {
                    cause = Some(Arc::new(error));
                    break;
                }
            };
            if row >= texts.len() {
                texts.resize_with(row + 1, || Ok(String::new()));
                done.resize(row + 1, false);
            }
            done[row] |= last;
            match (&mut texts[row], text) {
                (Ok(whole), Ok(text)) => whole.push_str(&text),
                (whole, failed) => *whole = failed,
            }
        }
        if let Some(cause) = cause {
            let unfinished = texts.iter_mut().zip(done).filter(|(_, done)| !done);
            unfinished.for_each(|(text, _)| *text = Err(cause.clone()));
        }
        texts
    }

    fn take(&mut self, event: Event) -> Result<()> {
        let row = event.row();
        while self.total <= row {
            self.add(RowText { vocab: self.vocab.clone(), stops: Vec::new(), keep_stop: false });
        }
        let Some(pieces) = self.rows.get_mut(&row) else { return Ok(()) };
        let last = !matches!(event, Event::Token { .. });
        if !pieces.ended() {
            let (piece, finished) = match event {
                Event::Token { token, .. } => pieces.push(token),
                Event::Finished { finished, .. } => {
                    let (piece, stopped) = pieces.finish();
                    (piece, Some(stopped.unwrap_or(finished)))
                }
                Event::Failed { error, .. } => {
                    self.rows.remove(&row);
                    self.ready.push_back(TextEvent::Failed { row, error });
                    return Ok(());
                }
            };
            let stopped = matches!(&finished, Some(Finished { reason: FinishReason::StopString(_), .. }));
            self.ready.extend(piece.map(|piece| TextEvent::Piece { row, piece }));
            self.ready.extend(finished.map(|finished| TextEvent::Finished { row, finished }));
            if let Some(retire) = self.retire.filter(|_| stopped) {
                self.rows.remove(&row);
                return retire(&mut self.events, row);
            }
        }
        if last {
            self.rows.remove(&row);
        }
        Ok(())
    }
}

impl<I> TextBatch<I> {
    /// Ends a row whose text is no longer wanted, without an event. Its events that have not been yielded are dropped. A row
    /// that has ended, or does not exist, is ignored.
    ///
    /// # Errors
    /// Any error of a model that drops the row; all rows have ended then.
    pub fn retire(&mut self, row: usize) -> Result<()> {
        self.ready.retain(|event| event.row() != row);
        if let Some(retire) = self.retire {
            self.rows.remove(&row);
            return retire(&mut self.events, row);
        }
        if let Some(pieces) = self.rows.get_mut(&row) {
            pieces.abort();
        }
        Ok(())
    }
}

impl TextEvent {
    /// Returns the row that the event belongs to.
    pub fn row(&self) -> usize {
        match self {
            Self::Piece { row, .. } | Self::Finished { row, .. } | Self::Failed { row, .. } => *row,
        }
    }
}

impl<I: Iterator<Item = Result<Event>>> Iterator for TextBatch<I> {
    type Item = Result<TextEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed {
            if let Err(error) = self.events.next()?.and_then(|event| self.take(event)) {
                self.failed = true;
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl<I: std::fmt::Debug> std::fmt::Debug for TextBatch<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextBatch").field("events", &self.events).finish_non_exhaustive()
    }
}

impl<B: Backend> Batch<B> {
    /// Turns the tokens into texts, piece by piece, which also end before the
    /// [stop strings](crate::decode::Request::stop_strings) of their requests.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the vocabulary does not know the bytes of its tokens.
    pub fn text(self) -> Result<TextBatch<Self>> {
        let vocab = self.vocab().clone();
        let row = |(stops, keep_stop)| RowText { vocab: vocab.clone(), stops, keep_stop };
        let rows = self.stop_strings(0..self.rows()).map(row).collect();
        TextBatch::of_rows(self, vocab, rows, Self::retire)
    }
}

impl<B: Backend> TextBatch<Batch<B>> {
    /// Adds requests to the running batch: see [`Batch::join`]. Stop strings that were set for all texts end theirs, too.
    ///
    /// ```
    /// use eft_core::decode::{Request, TextEvent};
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
    /// let model = from_fn(Host, vocab, |tokens| {
    ///     Ok((0..3).map(|id| if id == tokens.len() % 3 { 5.0 } else { 0.0 }).collect())
    /// });
    /// let decoding = Decoding::from(Sampling::greedy()).max_tokens(4);
    /// let mut batch = model.generate_batch([[0]], decoding)?.text()?;
    /// let mut texts = vec![String::new()];
    /// while let Some(event) = batch.next() {
    ///     if let TextEvent::Piece { row, piece } = event? {
    ///         texts[row] += &piece.text;
    ///     }
    ///     if texts.len() == 1 {
    ///         let row = batch.join([Request::new([0, 0]).until("b")])?;
    ///         assert_eq!(row, 1..2);
    ///         texts.push(String::new());
    ///     }
    /// }
    /// assert_eq!(texts, ["bcab", "ca"]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Batch::join`].
    pub fn join<R: Into<Request>>(&mut self, requests: impl IntoIterator<Item = R>) -> Result<Range<usize>> {
        let rows = self.events.join(requests)?;
        let texts: Vec<_> = self.events.stop_strings(rows.clone()).collect();
        for (stops, keep_stop) in texts {
            self.add(RowText { vocab: self.vocab.clone(), stops, keep_stop });
        }
        Ok(rows)
    }

    /// Runs at most one step, and returns all events that there are: see [`Batch::advance`].
    ///
    /// # Errors
    /// Any error of the iterator's own, which ends all texts.
    pub fn advance(&mut self) -> Result<Vec<TextEvent>> {
        if self.ready.is_empty() && !self.failed {
            let events = self.events.advance();
            let taken = events.and_then(|events| events.into_iter().try_for_each(|event| self.take(event)));
            taken.inspect_err(|_| self.failed = true)?;
        }
        Ok(self.ready.drain(..).collect())
    }
}
