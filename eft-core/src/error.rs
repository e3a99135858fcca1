//! The one error type of this crate, with kinds that a program can match on.
//!
//! ```
//! use eft_core::{Error, Sampling};
//!
//! let wrong = Sampling::default().top_p(1.5).validate();
//! assert!(matches!(wrong, Err(Error::InvalidParameter { name: "top_p", .. })));
//! ```
use crate::TokenId;

/// What every fallible operation of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A foreign error, kept as the source of one of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can go wrong, by kind.
///
/// Rows are rows of the batch, positions count the tokens that follow the prompt (position 0 is scored by the
/// prompt itself), and terms bear the names their sources were given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two vocabularies give one id to different ordinary tokens, so their scores cannot be added.
    #[error(
        "vocabularies `{left}` and `{right}` differ: id {id} is {left_token} in the first and {right_token} in the second"
    )]
    VocabMismatch {
        /// Name of one vocabulary.
        left: String,
        /// Name of the other.
        right: String,
        /// The first id that differs.
        id: TokenId,
        /// What the id stands for on the left, for people.
        left_token: String,
        /// What the id stands for on the right, for people.
        right_token: String,
    },
    /// A vocabulary that contradicts itself.
    #[error("vocabulary `{vocab}`: {reason}")]
    BadVocab {
        /// Its name.
        vocab: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A stop id lies beyond the tokens that all terms share, so generation could never stop.
    #[error(
        "stop id {id} of `{vocab}` lies past the {common} tokens that all terms share, so generation could never stop; \
         name the stop ids to use"
    )]
    StopIdCut {
        /// The vocabulary whose end-of-sequence id it is.
        vocab: String,
        /// The id.
        id: TokenId,
        /// How many tokens all terms share.
        common: usize,
    },
    /// A stop id, or part of a stop sequence, that can never be generated.
    #[error("stop id {id} is past the {common} tokens that all terms share")]
    StopIdOutOfRange {
        /// The id.
        id: TokenId,
        /// How many tokens all terms share.
        common: usize,
    },
    /// A token id that a term's vocabulary does not have.
    #[error("token id {token} in row {row} is past the {limit} tokens of `{term}`")]
    TokenOutOfRange {
        /// The term that cannot take it.
        term: String,
        /// Row of the batch.
        row: usize,
        /// The id.
        token: TokenId,
        /// Ids must be below this.
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
    /// A batch without rows.
    #[error("{what}: the batch has no rows")]
    EmptyBatch {
        /// The operation.
        what: &'static str,
    },
    /// A prompt that comes to no tokens at all.
    #[error("the prompt of row {row} comes to no tokens for `{term}`")]
    EmptyPrompt {
        /// The term for which it does.
        term: String,
        /// Row of the batch.
        row: usize,
    },
    /// More tokens than a model's context holds.
    #[error("row {row} of `{term}`: {asked} more tokens asked, room for {room}")]
    ContextFull {
        /// The term whose context is full.
        term: String,
        /// Row of the batch.
        row: usize,
        /// Tokens to be fed.
        asked: usize,
        /// Tokens the row still accepts.
        room: usize,
    },
    /// A rollback past what can be dropped, which is at least everything fed since the prompt.
    #[error("row {row}: cannot roll back {asked} tokens, only {limit}")]
    RollbackTooFar {
        /// Row of the batch.
        row: usize,
        /// Tokens to be dropped.
        asked: usize,
        /// Tokens that can be.
        limit: usize,
    },
    /// A row index past the batch.
    #[error("{what}: row {row} of a batch of {rows}")]
    RowOutOfRange {
        /// The operation.
        what: &'static str,
        /// The index.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Something has another size than its contract says.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was looked at, with the term and row where there is one.
        what: String,
        /// The size it should have.
        expected: String,
        /// The size it has.
        got: String,
    },
    /// Scores that no token can be chosen from.
    #[error("scores of `{term}`, row {row}, position {position}: {fault}")]
    BadScores {
        /// The term at fault, or the combination where no single term is.
        term: String,
        /// Row of the batch.
        row: usize,
        /// Tokens after the prompt.
        position: usize,
        /// What is wrong with them.
        fault: Fault,
    },
    /// A weight that is not a finite number.
    #[error("the weight of `{term}` is {weight}, not a finite number")]
    InvalidWeight {
        /// The term.
        term: String,
        /// Its weight.
        weight: f32,
    },
    /// Every term of a combination cancelled or has weight zero.
    #[error("nothing is left of the combination `{combination}`: every term cancels or has weight zero")]
    NothingLeft {
        /// The combination as written.
        combination: String,
    },
    /// A combination that is too large to be evaluated, usually because it was built in a loop.
    #[error("the combination `{combination}` has {count} {what}; at most {limit} are supported")]
    TooComplex {
        /// The combination as written, shortened.
        combination: String,
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {value}; expected {expected}")]
    InvalidParameter {
        /// Name of the setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An adapter, term or processor that does not exist under this name.
    #[error("no {kind} named `{name}`; there are: {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Under which name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A backend or source that cannot do what was asked.
    #[error("{who} does not support {what}")]
    Unsupported {
        /// The backend, source or rule.
        who: String,
        /// What it cannot do.
        what: String,
    },
    /// A prompt that a term has no way to turn into tokens.
    #[error("`{term}` cannot render {what}: {missing}")]
    CannotRender {
        /// The term.
        term: String,
        /// The form of the prompt.
        what: &'static str,
        /// What it lacks: a tokenizer, a chat template.
        missing: String,
    },
    /// A rule that needs whole rows was given the top few of a black box.
    #[error("the rule `{rule}` needs whole rows, and `{term}` knows only some tokens")]
    PartialRows {
        /// The rule.
        rule: String,
        /// The term with partial rows.
        term: String,
    },
    /// Scores that were forgotten and cannot be computed again, since they follow the prompt itself.
    #[error("the scores of row {row} at position {position} were forgotten")]
    Forgotten {
        /// Row of the batch.
        row: usize,
        /// Tokens after the prompt.
        position: usize,
    },
    /// An earlier failure left caches out of step; open or reopen to go on.
    #[error("the session is poisoned by an earlier failure: {cause}")]
    Poisoned {
        /// The earlier failure.
        cause: String,
    },
    /// A tensor library failed.
    #[error("backend {backend}: {source}")]
    Backend {
        /// [`Backend::NAME`](crate::Backend::NAME).
        backend: &'static str,
        /// Its own error.
        source: BoxError,
    },
    /// A model or a user's own code failed.
    #[error("`{name}` failed: {source}")]
    Source {
        /// The engine or source.
        name: String,
        /// Its own error.
        source: BoxError,
    },
}

/// What can be wrong with a row of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// At least one entry is not a number.
    #[error("NaN for token {0}")]
    NotANumber(TokenId),
    /// At least one entry is +∞.
    #[error("+∞ for token {0}")]
    Infinite(TokenId),
    /// A token is excluded (−∞) by a term that is subtracted.
    #[error("−∞ for token {0} in a term of negative weight")]
    ExcludedBySubtraction(TokenId),
    /// All entries are −∞.
    #[error("no token has a finite score")]
    NothingFinite,
    /// Every term has finite scores, but they have no such token in common.
    #[error("no token has a finite score in all terms")]
    NothingInCommon,
    /// The terms are sound, but their combination is not: it overflowed, or its rule made NaN of them.
    #[error("the terms are sound, but their combination is not: it overflows, or its rule is at fault")]
    Unsound,
    /// The terms are sound, but processors and masks left no token.
    #[error("masks and processors leave no token")]
    NothingAllowed,
}

impl Error {
    /// Wraps an error of a tensor library.
    pub fn backend(backend: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Backend { backend, source: source.into() }
    }

    /// Wraps an error of a model or of code around one.
    pub fn source(name: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Source { name: name.into(), source: source.into() }
    }

    /// A size that contradicts a contract.
    pub fn shape(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn parameter(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::InvalidParameter { name, value: value.to_string(), expected }
    }
}
