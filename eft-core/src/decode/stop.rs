use std::collections::VecDeque;

use crate::TokenId;
use crate::sample::Token;

/// Why a text ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum FinishReason {
    /// At this end-of-sequence id.
    EndOfSequence(TokenId),
    /// At the stop sequence of this index.
    StopSequence(usize),
    /// At the stop string of this index: see [`text`](super::text).
    StopString(usize),
    /// After as many tokens as were allowed.
    MaxTokens,
    /// Some model's context is full.
    ContextFull,
    /// A black box says so, and not why.
    Ended,
}

/// How a text ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why.
    pub reason: FinishReason,
    /// The tokens that ended it and were not yielded: the end-of-sequence token, the stop sequence, or those from
    /// where the stop string begins.
    pub tail: Vec<Token>,
}

/// Watches one text for its end, and holds back tokens that may turn out to belong to a stop sequence.
#[derive(Debug, Default)]
pub(super) struct StopWatch {
    held: VecDeque<Token>,
}

impl StopWatch {
    /// Takes in a token. Returns those that can be yielded, and how the text ended, if it did.
    pub(super) fn push(
        &mut self,
        token: Token,
        stop_ids: &[TokenId],
        sequences: &[Vec<TokenId>],
    ) -> (Vec<Token>, Option<Finished>) {
        let id = token.id;
        self.held.push_back(token);
        let ids: Vec<_> = self.held.iter().map(|t| t.id).collect();
        if stop_ids.contains(&id) {
            return self.end(1, FinishReason::EndOfSequence(id));
        }
        if let Some(index) = sequences.iter().position(|s| ids.ends_with(s)) {
            return self.end(sequences[index].len(), FinishReason::StopSequence(index));
        }
        // The longest end of what is held that a stop sequence begins with may still become one.
        let begins = |keep: usize| sequences.iter().any(|s| s.starts_with(&ids[ids.len() - keep..]));
        let keep = (1..=ids.len()).rev().find(|keep| begins(*keep)).unwrap_or(0);
        (self.held.drain(..ids.len() - keep).collect(), None)
    }

    fn end(&mut self, tail: usize, reason: FinishReason) -> (Vec<Token>, Option<Finished>) {
        let tail = self.held.split_off(self.held.len() - tail).into();
        (self.release(), Some(Finished { reason, tail }))
    }

    /// Yields what is held, once nothing can follow.
    pub(super) fn release(&mut self) -> Vec<Token> {
        self.held.drain(..).collect()
    }
}
