use std::sync::Arc;

use super::stop::Finished;
use crate::Error;
use crate::sample::Token;

/// An event of one row of a [`Batch`](super::Batch): a token, the end of its text, or a failure.
///
/// Rows are counted over the samples of all requests, in their order: if every request asks for one sample, the row is
/// the index of the request.
#[derive(Debug, Clone)]
pub enum Event {
    /// A token was generated.
    Token {
        /// The row.
        row: usize,
        /// The token.
        token: Token,
    },
    /// The text has ended. This is the last event of its row.
    Finished {
        /// The row.
        row: usize,
        /// How the text ended.
        finished: Finished,
    },
    /// The row cannot be generated, for instance because its prompt is empty or longer than a model's context, or cannot
    /// be continued because a model failed at it. The other rows continue. This is the last event of its row.
    Failed {
        /// The row.
        row: usize,
        /// A description of the fault.
        error: Arc<Error>,
    },
}

impl Event {
    /// Returns the row that the event belongs to.
    pub fn row(&self) -> usize {
        match self {
            Self::Token { row, .. } | Self::Finished { row, .. } | Self::Failed { row, .. } => *row,
        }
    }
}
