use std::collections::VecDeque;
use std::sync::Arc;

use super::Piece;
use super::pieces::{Pieces, check};
use crate::backend::Backend;
use crate::decode::{Batch, Event, FinishReason, Finished};
use crate::{Result, Vocab};

/// Texts of a batch, piece by piece: an iterator over any iterator of [`Event`]s.
pub struct TextBatch<I> {
    events: I,
    /// Ends a row whose text is wanted no further.
    retire: Option<fn(&mut I, usize) -> Result<()>>,
    vocab: Arc<Vocab>,
    rows: Vec<Pieces>,
    stops: Vec<String>,
    ready: VecDeque<TextEvent>,
    begun: bool,
    failed: bool,
}

/// What happens to a row's text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextEvent {
    /// There is more of it.
    Piece {
        /// Index of the prompt.
        row: usize,
        /// The text.
        piece: Piece,
    },
    /// It has ended. The last event of its row.
    Finished {
        /// Index of the prompt.
        row: usize,
        /// How.
        finished: Finished,
    },
}

impl<I: Iterator<Item = Result<Event>>> TextBatch<I> {
    /// The texts of tokens of a vocabulary. Rows that a stop string has ended may run on, unseen:
    /// [`retiring`](Self::retiring) ends them.
    pub fn new(events: I, vocab: Arc<Vocab>) -> Self {
        let (rows, stops, ready) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { events, retire: None, vocab, rows, stops, ready, begun: false, failed: false }
    }

    /// As [`new`](Self::new), with a way to end a row, such as [`Batch::retire`].
    pub fn retiring(events: I, vocab: Arc<Vocab>, retire: fn(&mut I, usize) -> Result<()>) -> Self {
        Self { retire: Some(retire), ..Self::new(events, vocab) }
    }

    /// Ends every text before this string, too, wherever tokens begin and end.
    pub fn until(mut self, stop: impl Into<String>) -> Self {
        self.stops.push(stop.into());
        self
    }

    /// The events' iterator, to go on with.
    pub fn into_inner(self) -> I {
        self.events
    }

    /// Reads all texts to their ends: by prompt, as far as there were events for them.
    ///
    /// # Errors
    /// The first that the iterator yields.
    pub fn read(self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for event in self {
            let (row, text) = match event? {
                TextEvent::Piece { row, piece } => (row, piece.text),
                TextEvent::Finished { row, .. } => (row, String::new()),
            };
            if texts.len() <= row {
                texts.resize(row + 1, String::new());
            }
            texts[row].push_str(&text);
        }
        Ok(texts)
    }

    fn take(&mut self, event: Event) -> Result<()> {
        let (Event::Token { row, .. } | Event::Finished { row, .. }) = event;
        while self.rows.len() <= row {
            self.rows.push(Pieces::new(self.vocab.clone()));
        }
        let pieces = &mut self.rows[row];
        if pieces.ended {
            return Ok(());
        }
        let (piece, finished) = match event {
            Event::Token { token, .. } => pieces.push(token, &self.stops),
            Event::Finished { finished, .. } => {
                let (piece, stopped) = pieces.finish(&self.stops);
                (piece, Some(stopped.unwrap_or(finished)))
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
        let mut result = Ok(());
        if !std::mem::replace(&mut self.begun, true) {
            result = check(&self.vocab, &self.stops);
        }
        while result.is_ok() && self.ready.is_empty() && !self.failed {
            result = match self.events.next()? {
                Ok(event) => self.take(event),
                Err(error) => Err(error),
            };
        }
        if let Err(error) = result {
            self.failed = true;
            return Some(Err(error));
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
    /// The texts, piece by piece.
    pub fn text(self) -> TextBatch<Self> {
        let vocab = self.vocab().clone();
        TextBatch::retiring(self, vocab, Self::retire)
    }
}
