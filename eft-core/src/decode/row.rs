//! One text of a batch: its settings, and the tokens that it has yielded.
use std::collections::VecDeque;

use super::event::Event;
use super::open::RowSettings;
use super::stop::{FinishReason, Finished, StopMatcher};
use crate::TokenId;
use crate::sample::Token;

/// One text of a batch.
pub(super) struct Row {
    pub(super) settings: RowSettings,
    /// How many tokens had been pushed when the batch began. They count for processors and random numbers, but not for
    /// the limit of tokens.
    before: usize,
    matcher: StopMatcher,
}

/// The effect of newly chosen tokens on the text of a row.
pub(super) enum Taken {
    /// They end the text, and the last `unused` of them come after its end.
    Ended { unused: usize },
    /// The text has reached its limit of tokens.
    Full { last: TokenId },
    /// The text continues.
    GoesOn { last: Option<TokenId> },
}

impl Row {
    pub(super) fn new(settings: RowSettings, before: usize) -> Self {
        Self { settings, before, matcher: StopMatcher::default() }
    }

    /// Returns whether the text may have no token at all.
    pub(super) fn is_empty(&self) -> bool {
        self.settings.max_tokens == Some(0)
    }

    /// Returns how many tokens the text may still get, after `length` tokens of which some were there before.
    pub(super) fn left(&self, length: usize) -> usize {
        self.settings.max_tokens.unwrap_or(usize::MAX).saturating_sub(length - self.before)
    }

    /// Yields the tokens, up to the end of the text. `index` is the index of the row in its batch.
    pub(super) fn take(&mut self, index: usize, tokens: Vec<Token>, events: &mut VecDeque<Event>) -> Taken {
        let (mut unused, mut last) = (tokens.len(), None);
        for token in tokens {
            unused -= 1;
            let (id, count) = (token.id, token.position + 1 - self.before);
            last = Some(id);
            let (yielded, finished) = self.matcher.push(token, &self.settings.stops);
            events.extend(yielded.into_iter().map(|token| Event::Token { row: index, token }));
            if let Some(finished) = finished {
                events.push_back(Event::Finished { row: index, finished });
                return Taken::Ended { unused };
            }
            if unused == 0 && self.settings.max_tokens.is_some_and(|max| count >= max) {
                return Taken::Full { last: id };
            }
        }
        Taken::GoesOn { last }
    }

    /// Ends a text whose last tokens belong to it.
    pub(super) fn finish(&mut self, index: usize, reason: FinishReason, events: &mut VecDeque<Event>) {
        let held = self.matcher.release();
        events.extend(held.into_iter().map(|token| Event::Token { row: index, token }));
        events.push_back(Event::Finished { row: index, finished: Finished { reason, tail: Vec::new() } });
    }
}
