//! [`Writer`]: makes text of the tokens of one row.
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use eft::decode::{Event, TextBatch, TextEvent};
use eft::{Result, Vocab};

use super::job::{End, EndReason, Failure, Update};
use crate::metrics::Metrics;

/// Makes text of the tokens of one row as they come, up to a stop string.
///
/// The texts of a whole batch run the models until one of them has another piece. A row whose tokens have no text would let
/// everything else wait. So the events are read from the batch one by one, and each row has a text of its own, which never
/// waits.
pub(super) struct Writer {
    feed: Sender<Result<Event>>,
    text: TextBatch<Box<dyn Iterator<Item = Result<Event>> + Send>>,
}

impl Writer {
    /// A writer of the tokens of a vocabulary.
    ///
    /// # Errors
    /// If the bytes of the tokens are not known, or a stop string is empty.
    pub(super) fn new(vocab: Arc<Vocab>, stops: &[String]) -> Result<Self> {
        let (feed, fed) = channel();
        let events: Box<dyn Iterator<Item = _> + Send> =
            Box::new(std::iter::from_fn(move || fed.try_recv().ok()));
        Ok(Self { feed, text: TextBatch::new(events, vocab, 1)?.until_any(stops)? })
    }

    /// Takes an event of the row, and returns what becomes of the text, which is counted. The request came at `submitted`.
    ///
    /// # Errors
    /// None that is not in the events, since a text over given events computes nothing.
    pub(super) fn take(
        &mut self,
        event: Event,
        metrics: &Metrics,
        submitted: Instant,
    ) -> Result<Vec<Update>> {
        let event = match event {
            Event::Token { token, .. } => Event::Token { row: 0, token },
            Event::Finished { finished, .. } => Event::Finished { row: 0, finished },
            Event::Failed { error, .. } => Event::Failed { row: 0, error },
        };
        // The receiver lives as long as the text.
        let _ = self.feed.send(Ok(event));
        let update = |event| match event {
            TextEvent::Piece { piece, .. } => {
                metrics.tokens.inc_by(piece.tokens.len() as u64);
                Update::Piece(piece)
            }
            TextEvent::Finished { finished, .. } => {
                metrics.tokens.inc_by(finished.tail.len() as u64);
                metrics.text(submitted.elapsed());
                Update::Finished(End { reason: EndReason::Text(finished.reason), tail: finished.tail })
            }
            TextEvent::Failed { error, .. } => Update::Failed(Failure::Models(error)),
        };
        self.text.by_ref().map(|event| event.map(update)).collect()
    }
}
