//! [`Error`]: the error type of this crate, with a variant for each kind of failure that a program may handle.
//!
//! ```
//! use eft_core::{Error, Sampling};
//!
//! let wrong = Sampling::default().top_p(1.5).validate();
//! assert!(matches!(wrong, Err(Error::InvalidParameter { name: "top_p", .. })));
//! ```
//!
//! # Messages and sources
//! The message of an error does not repeat the message of its [source](std::error::Error::source). Print the whole
//! chain, as `{:#}` of the crate `anyhow` does, or with [`with_sources`].
//!
//! # Other error types
//! The crates around this one have their own error types for loading models. Each of them has a variant for this
//! crate's [`Error`], and each converts into it: into that inner error if it holds one, else into [`Error::Load`]. So a
//! function that returns [`Result`] can use `?` on all of them.
use crate::TokenId;

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of another library, kept as the source of an [`Error`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of an operation of this crate.
///
/// A `row` is the index of a sequence in its batch. A `position` counts the tokens that follow the prompt: the scores
/// at position 0 are those after the prompt itself. A `term` is the name of a source in a combination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two vocabularies give the same id to different ordinary tokens, so their scores cannot be added. Models with different
    /// tokenizers can be combined over bytes: [`Source::bytes`](crate::Source::bytes).
    #[error(
        "vocabularies `{left}` and `{right}` differ: id {id} is {left_token} in the first and {right_token} in the second; models with different tokenizers can be combined over bytes (`Source::bytes`)"
    )]
    VocabMismatch {
        /// The name of the first vocabulary.
        left: String,
        /// The name of the second vocabulary.
        right: String,
        /// The first id that differs.
        id: TokenId,
        /// The token that has the id in the first vocabulary, as readable text.
        left_token: String,
        /// The token that has the id in the second vocabulary, as readable text.
        right_token: String,
    },
    /// A vocabulary contradicts itself.
    #[error("vocabulary `{vocab}`: {reason}")]
    BadVocab {
        /// The name of the vocabulary.
        vocab: String,
        /// A description of the fault.
        reason: String,
    },
    /// An end-of-sequence id lies outside the tokens that all terms share, so generation could never stop at it.
    #[error(
        "the end-of-sequence id {id} of `{vocab}` is not among the {common} tokens that all terms share, so generation \
         could never stop at it; set the stop ids explicitly"
    )]
    StopIdCut {
        /// The vocabulary that the end-of-sequence id belongs to.
        vocab: String,
        /// The id.
        id: TokenId,
        /// The number of tokens that all terms share.
        common: usize,
    },
    /// A stop id, or an id in a stop sequence, can never be generated.
    #[error("stop id {id} is not among the {common} tokens that all terms share")]
    StopIdOutOfRange {
        /// The id.
        id: TokenId,
        /// The number of tokens that all terms share.
        common: usize,
    },
    /// A token id is outside the vocabulary of a term.
    #[error("token id {token} in row {row} is out of range: `{term}` takes ids below {limit}")]
    TokenOutOfRange {
        /// The term or operation that cannot take the id.
        term: String,
        /// The row of the batch.
        row: usize,
        /// The id.
        token: TokenId,
        /// Ids must be below this number.
        limit: usize,
    },
    /// A processor edits the score of a token that the combination does not have.
    #[error(
        "a processor edits token id {token} in row {row} at position {position}, past the {limit} tokens that all terms \
         share"
    )]
    EditOutOfRange {
        /// Row of the batch.
        row: usize,
        /// Number of tokens after the prompt.
        position: usize,
        /// The id.
        token: TokenId,
        /// Ids must be below this.
        limit: usize,
    },
    /// A batch has no rows.
    #[error("{what}: the batch has no rows")]
    EmptyBatch {
        /// The operation.
        what: &'static str,
    },
    /// A prompt renders to no tokens.
    #[error("the prompt of row {row} renders to no tokens for `{term}`")]
    EmptyPrompt {
        /// The term that rendered the prompt.
        term: String,
        /// The row of the batch.
        row: usize,
    },
    /// A row needs more tokens than the context of a model can hold.
    #[error("the context of `{term}` is full: row {row} needs {asked} more tokens and has room for {room}")]
    ContextFull {
        /// The term whose context is full.
        term: String,
        /// The row of the batch.
        row: usize,
        /// The number of tokens to be appended.
        asked: usize,
        /// The number of tokens that the row still has room for.
        room: usize,
    },
    /// A rollback would drop more tokens than can be dropped.
    #[error("row {row}: cannot roll back {asked} tokens, at most {limit}")]
    RollbackTooFar {
        /// The row of the batch.
        row: usize,
        /// The number of tokens to be dropped.
        asked: usize,
        /// The number of tokens that can be dropped: at least all that were fed after the prompt.
        limit: usize,
    },
    /// The index of a row is out of range.
    #[error("{what}: row {row} is out of range for a batch of {rows} rows")]
    RowOutOfRange {
        /// The operation.
        what: &'static str,
        /// The index.
        row: usize,
        /// The number of rows in the batch.
        rows: usize,
    },
    /// A value has another size than its contract requires.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The value, with its term and row if it has one.
        what: String,
        /// The size that is required.
        expected: String,
        /// The size that was found.
        got: String,
    },
    /// No token can be chosen from a score row.
    #[error("scores of `{term}`, row {row}, position {position}: {fault}")]
    BadScores {
        /// The term at fault, or the combination if no single term is.
        term: String,
        /// The row of the batch.
        row: usize,
        /// The position: the number of tokens after the prompt.
        position: usize,
        /// The fault of the scores.
        fault: Fault,
    },
    /// A weight is not a finite number.
    #[error("the weight of `{term}` is {weight}, not a finite number")]
    InvalidWeight {
        /// The term.
        term: String,
        /// Its weight.
        weight: f32,
    },
    /// All terms of a combination cancel or have weight zero.
    #[error("nothing is left of the combination `{combination}`: all terms cancel or have weight zero")]
    NothingLeft {
        /// The combination as it was written.
        combination: String,
    },
    /// A combination that is too large to be evaluated, usually because it was built in a loop.
    #[error("the combination `{combination}` has {count} {what}; at most {limit} are supported")]
    TooComplex {
        /// The combination as written, shortened.
        combination: String,
        /// The items of which there are too many.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A setting is outside its range.
    #[error("{name} is {value}, but must be {expected}")]
    InvalidParameter {
        /// The name of the setting.
        name: &'static str,
        /// The value that it was set to.
        value: String,
        /// The values that are valid.
        expected: &'static str,
    },
    /// No adapter, term or other item has this name.
    #[error("no {kind} named `{name}`; available: {known}")]
    Unknown {
        /// The kind of item that was looked for.
        kind: &'static str,
        /// The name that was looked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A backend, source or rule does not support a request.
    #[error("{who} does not support {what}")]
    Unsupported {
        /// The backend, source or rule.
        who: String,
        /// The request that it does not support.
        what: String,
    },
    /// A term cannot turn a prompt into tokens.
    #[error("`{term}` cannot render {what}: {missing}")]
    CannotRender {
        /// The term.
        term: String,
        /// The form of the prompt.
        what: &'static str,
        /// The missing part: a tokenizer or a chat template, for instance.
        missing: String,
    },
    /// A rule that needs complete score rows was given the top tokens of a black box.
    #[error("the rule `{rule}` needs scores of all tokens, and `{term}` has scores of some tokens only")]
    PartialRows {
        /// The rule.
        rule: String,
        /// The term with partial score rows.
        term: String,
    },
    /// Scores were discarded and cannot be computed again, because they follow the prompt itself.
    #[error("the scores of row {row} at position {position} were discarded and cannot be computed again")]
    Forgotten {
        /// The row of the batch.
        row: usize,
        /// The position: the number of tokens after the prompt.
        position: usize,
    },
    /// An earlier failure left the caches of a session inconsistent. Open it again to continue.
    #[error("the session is unusable after an earlier failure: {cause}")]
    Poisoned {
        /// The messages of the earlier failure and of its sources.
        cause: String,
    },
    /// One row of a batch failed and the others did not. The call has changed nothing and can be repeated without the row.
    #[error("row {row} failed")]
    RowFailed {
        /// The row of the batch.
        row: usize,
        /// The error of the row.
        source: Box<Error>,
    },
    /// A tensor library failed.
    #[error("the {backend} backend failed")]
    Backend {
        /// The backend's name: [`Backend::NAME`](crate::Backend::NAME).
        backend: &'static str,
        /// The error of the library.
        source: BoxError,
    },
    /// A model, or a user's own code, failed.
    #[error("`{name}` failed")]
    Source {
        /// The name of the engine or source.
        name: String,
        /// Its error.
        source: BoxError,
    },
    /// A formula could not be read. The message and the sources are those of the reader's error.
    #[error(transparent)]
    Formula(BoxError),
    /// A model, tokenizer or adapter could not be loaded. The message and the sources are those of the loader's error.
    #[error(transparent)]
    Load(BoxError),
}

/// A reason for which no token can be chosen from a score row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An entry is NaN.
    #[error("NaN for token {0}")]
    NotANumber(TokenId),
    /// An entry is +∞.
    #[error("+∞ for token {0}")]
    Infinite(TokenId),
    /// A term that is subtracted excludes a token (−∞).
    #[error("−∞ for token {0} in a term of negative weight")]
    ExcludedBySubtraction(TokenId),
    /// All entries are −∞.
    #[error("no token has a finite score")]
    NothingFinite,
    /// Every term has finite scores, but no token has a finite score in all terms.
    #[error("no token has a finite score in all terms")]
    NothingInCommon,
    /// The terms are sound, but their combination is not: it overflowed, or its rule returned NaN or +∞.
    #[error("the terms are sound, but their combination is not: it overflows, or its rule is at fault")]
    Unsound,
    /// The combination is sound, but processors and masks exclude all tokens.
    #[error("masks and processors exclude all tokens")]
    NothingAllowed,
}

impl Error {
    /// Wraps an error of a tensor library.
    pub fn backend(backend: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Backend { backend, source: source.into() }
    }

    /// Wraps an error of a model, or of the code around it. `name` is that of the model.
    pub fn source(name: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Source { name: name.into(), source: source.into() }
    }

    /// Reports that one row of a batch failed, for sessions whose rows can fail one by one. Generation ends that row and
    /// continues with the others.
    pub fn row(row: usize, source: Self) -> Self {
        Self::RowFailed { row, source: Box::new(source) }
    }

    /// The error of a session whose rows are blocks of `rows` rows of the batch, in terms of the batch.
    pub(crate) fn of_session(self, rows: usize) -> Self {
        match self {
            Self::RowFailed { row, source } => {
                Self::RowFailed { row: row.checked_rem(rows).unwrap_or(row), source }
            }
            other => other,
        }
    }

    /// Wraps an error that occurred while a model was loaded.
    pub fn load(source: impl Into<BoxError>) -> Self {
        Self::Load(source.into())
    }

    /// Reports a value of the wrong size.
    pub fn shape(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn parameter(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::InvalidParameter { name, value: value.to_string(), expected }
    }
}

/// Returns the message of an error, followed by those of its sources, joined by `: `.
///
/// ```
/// use eft_core::Error;
/// use eft_core::error::with_sources;
///
/// let error = Error::source("my model", "out of memory");
/// assert_eq!(error.to_string(), "`my model` failed");
/// assert_eq!(with_sources(&error), "`my model` failed: out of memory");
/// ```
pub fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let messages = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    messages.collect::<Vec<_>>().join(": ")
}

/// Replaces the row index in an error, if it has one, by `to` of that index.
pub(crate) fn in_row(mut error: Error, to: impl FnOnce(usize) -> usize) -> Error {
    match &mut error {
        Error::TokenOutOfRange { row, .. }
        | Error::EmptyPrompt { row, .. }
        | Error::ContextFull { row, .. }
        | Error::BadScores { row, .. }
        | Error::EditOutOfRange { row, .. }
        | Error::Forgotten { row, .. } => *row = to(*row),
        _ => {}
    }
    error
}
