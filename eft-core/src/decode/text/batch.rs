use std::collections::VecDeque;
use std::sync::Arc;

use super::pieces::{Piece, Pieces, check_vocab};
use crate::backend::Backend;
use crate::decode::batch::Batch;
use crate::decode::event::Event;
use crate::decode::request::check_stop_strings;
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
    rows: Vec<Pieces>,
    /// The stop strings of all rows.
    stops: Vec<String>,
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
        let rows = (0..rows).map(|_| Pieces::new(vocab.clone())).collect();
        let (stops, ready) = (Vec::new(), VecDeque::new());
        Ok(Self { events, retire: None, vocab, rows, stops, ready, failed: false })
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
        for RowText { vocab, stops, keep_stop } in rows {
            let mut pieces = Pieces::new(vocab);
            stops.into_iter().for_each(|stop| pieces.until(stop));
            pieces.keep_stop(keep_stop);
            batch.rows.push(pieces);
        }
        Ok(batch)
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
        self.rows.iter_mut().for_each(|row| row.until(stop.clone()));
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
        self.rows.iter_mut().for_each(|row| row.keep_stop(keep));
        self
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
        let mut texts: Vec<_> = self.rows.iter().map(|_| Ok(String::new())).collect();
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
        while self.rows.len() <= row {
            let mut pieces = Pieces::new(self.vocab.clone());
            self.stops.iter().for_each(|stop| pieces.until(stop.clone()));
            self.rows.push(pieces);
        }
        let pieces = &mut self.rows[row];
        if pieces.ended() {
            return Ok(());
        }
        let (piece, finished) = match event {
            Event::Token { token, .. } => pieces.push(token),
            Event::Finished { finished, .. } => {
                let (piece, stopped) = pieces.finish();
                (piece, Some(stopped.unwrap_or(finished)))
            }
            Event::Failed { error, .. } => {
                pieces.abort();
                self.ready.push_back(TextEvent::Failed { row, error });
                return Ok(());
            }
        };
        let stopped = matches!(&finished, Some(Finished { reason: FinishReason::StopString(_), .. }));
        self.ready.extend(piece.map(|piece| TextEvent::Piece { row, piece }));
        self.ready.extend(finished.map(|finished| TextEvent::Finished { row, finished }));
        match self.retire {
            Some(retire) if stopped => retire(&mut self.events, row),
            _ => Ok(()),
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
        let rows = self.stop_strings().map(row).collect();
        TextBatch::of_rows(self, vocab, rows, Self::retire)
    }
}
