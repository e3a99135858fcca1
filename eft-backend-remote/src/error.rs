//! [`Error`]: why a server could not be used, or one request failed.
use eft_core::error::BoxError;

/// The result of talking to a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be used, or one request failed.
///
/// Every message names the url. A server's own message is cut short, and the key never appears in one.
///
/// ```
/// use eft_backend_remote::{Error, Remote};
///
/// let error = Remote::openai("ftp://example.org/models").open().unwrap_err();
/// assert!(matches!(error, Error::Url { .. }));
/// assert!(error.to_string().contains("ftp://example.org/models"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A url is not that of a server.
    #[error("`{url}` is not the address of a server: {reason}")]
    Url {
        /// The url, without a user name or password.
        url: String,
        /// A description of the fault.
        reason: &'static str,
    },
    /// The key cannot be read.
    #[error("the environment variable `{variable}`, which should hold the key for {url}, {reason}")]
    Key {
        /// The url of the server.
        url: String,
        /// The name of the environment variable.
        variable: String,
        /// A description of the fault. It does not contain the key.
        reason: &'static str,
    },
    /// No connection can be made, or it was lost each time.
    #[error("{url} cannot be reached (tried {tries} times)")]
    Lost {
        /// The url that was requested.
        url: String,
        /// How often the request was sent.
        tries: usize,
        /// The error of the HTTP client.
        source: BoxError,
    },
    /// The time for a request, including its repetitions, is over.
    #[error("{url} did not answer within {seconds} s (tried {tries} times; {last})")]
    Timeout {
        /// The url that was requested.
        url: String,
        /// The time in seconds.
        seconds: f64,
        /// How often the request was sent.
        tries: usize,
        /// How the last try failed.
        last: String,
    },
    /// The server refused a request, or failed.
    #[error("{url} answered with status {status} (tried {tries} times): {message}")]
    Status {
        /// The url that was requested.
        url: String,
        /// The status code of HTTP.
        status: u16,
        /// How often the request was sent.
        tries: usize,
        /// The server's own message, cut short.
        message: String,
    },
    /// The server's answer is not what its interface promises.
    #[error("the answer of {url} is wrong: {reason}")]
    Answer {
        /// The url that was requested.
        url: String,
        /// A description of the fault.
        reason: String,
    },
    /// The server has no such model, or has several and none was named.
    #[error("{url} has no model `{model}`; it has: {known}")]
    Model {
        /// The url of the server.
        url: String,
        /// The requested name; empty if none was given.
        model: String,
        /// The names of the server's models, cut short.
        known: String,
    },
    /// The server runs another model than when the connection was made.
    #[error("{url} now runs the model `{now}` instead of `{before}`")]
    Swapped {
        /// The url that was requested.
        url: String,
        /// The model when the connection was made.
        before: String,
        /// The model that answered.
        now: String,
    },
    /// The server and the local tokenizer make different ids of one text, so ids do not mean the same.
    #[error(
        "{url} tokenizes {text:?} as {there:?}, but the tokenizer here as {here:?}: the vocabularies differ"
    )]
    Vocabulary {
        /// The url of the server.
        url: String,
        /// The text.
        text: String,
        /// The ids that the local tokenizer makes of it.
        here: Vec<eft_core::TokenId>,
        /// The ids that the server makes of it.
        there: Vec<eft_core::TokenId>,
    },
    /// The server's kind, or this server, cannot do something.
    #[error("{url} cannot do this: {what}")]
    Unsupported {
        /// The url of the server.
        url: String,
        /// A description of what it cannot do.
        what: String,
    },
    /// A greedy choice could not be proven, and [`Unproven::Refuse`](crate::Unproven::Refuse) is set.
    #[error(
        "the greedy choice after {length} tokens is not proven: {contenders} tokens that the server did not tell could \
         have a higher score; ask for more log-probs, or accept unproven choices"
    )]
    Unproven {
        /// The number of tokens before the choice, prompt included.
        length: usize,
        /// How many untold tokens could have a higher score.
        contenders: usize,
    },
    /// A vocabulary or a backend refuses the data.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

impl Error {
    /// The error as one of `eft-core`, of the source `name`.
    pub(crate) fn of(self, name: &str) -> eft_core::Error {
        match self {
            Self::Core(error) => error,
            error => eft_core::Error::source(name, error),
        }
    }
}

impl From<Error> for eft_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) => error,
            error => Self::load(error),
        }
    }
}
