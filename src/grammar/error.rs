use thiserror::Error as ThisError;

/// Why there is no grammar.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The description of the grammar is invalid, or not supported.
    #[error("the {what} is invalid{}: {reason}", at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default())]
    Invalid {
        /// What kind of description it is.
        what: &'static str,
        /// For a JSON schema, the part at fault as a JSON pointer, if it is not the whole.
        at: Option<String>,
        /// A description of the fault; for a Lark grammar with its line.
        reason: String,
    },
    /// No grammar can be followed with this vocabulary.
    #[error("the vocabulary `{vocab}` cannot follow a grammar: {reason}")]
    Vocab {
        /// The name of the vocabulary.
        vocab: String,
        /// A description of the fault.
        reason: &'static str,
    },
    /// A text does not follow the grammar although it should: it was begun without the grammar, or another processor has
    /// chosen its tokens.
    #[error("the text leaves the grammar with its token {token} ({text:?}) at position {position}")]
    Left {
        /// The first token that the grammar does not allow.
        token: u32,
        /// What it stands for.
        text: String,
        /// The number of tokens before it.
        position: usize,
    },
    /// The grammar has become too complex to be followed further.
    #[error("after {position} tokens, the text cannot be parsed further: {reason}")]
    TooComplex {
        /// The number of tokens of the text.
        position: usize,
        /// A description of the limit.
        reason: String,
    },
}

impl From<Error> for eft_core::Error {
    fn from(error: Error) -> Self {
        Self::source("the grammar", error)
    }
}

/// A message of the library, without what it adds for its own developers.
pub(super) fn plain(message: &str) -> String {
    let added = ["\n<state>", "\n<non-verbose/>", "\n<backtrace>"];
    let end = added.iter().filter_map(|mark| message.find(mark)).min().unwrap_or(message.len());
    message[..end].trim().replace(" without 'referencing' feature", "")
}
