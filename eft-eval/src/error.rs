//! [`Error`]: the error type of this crate.
use std::io;
use std::path::PathBuf;

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of an operation of this crate.
///
/// As everywhere in the workspace, a message does not repeat that of its source: print the chain.
///
/// ```
/// use eft_eval::{Error, Items};
///
/// let missing = Items::read("no-such-file.jsonl").unwrap_err();
/// assert!(matches!(&missing, Error::File { .. }));
/// assert!(missing.to_string().contains("no-such-file.jsonl"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was attempted: `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// An item is malformed, or lacks what its task needs.
    #[error("{origin}: field `{field}`: {reason}")]
    Field {
        /// Where the item comes from: file and line, or its id.
        origin: String,
        /// The field at fault.
        field: &'static str,
        /// A description of the fault.
        reason: String,
    },
    /// A line of a file is not a JSON object, or not one that this crate has written.
    #[error("{origin}: {reason}")]
    Line {
        /// File and line.
        origin: String,
        /// A description of the fault.
        reason: String,
    },
    /// There are no items.
    #[error("{origin}: there are no items")]
    NoItems {
        /// The file, or the list.
        origin: String,
    },
    /// A regular expression cannot be used.
    #[error("the regular expression `{pattern}` cannot be used")]
    Pattern {
        /// The expression.
        pattern: String,
        /// The failure.
        source: Box<regex::Error>,
    },
    /// A setting is out of its range.
    #[error("`{name}` must be {expected}, but is {value}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// A description of what is allowed.
        expected: &'static str,
    },
    /// The file of results belongs to a run with other settings.
    #[error(
        "{} holds the results of another run, which differs in {}; give another file, or delete this one",
        path.display(), differences.join("; ")
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// Each setting that differs, with its value in the file and its value now.
        differences: Vec<String>,
    },
    /// Another process is writing the file of results.
    #[error("another process is writing {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Results do not fit together, or have no numbers to compute with.
    #[error("the results of `{run}` {reason}")]
    Results {
        /// The name of the run.
        run: String,
        /// A description of the fault.
        reason: String,
    },
    /// The report cannot be made.
    #[error("cannot make the {what} of the report")]
    Report {
        /// The part of the report.
        what: &'static str,
        /// The failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A grader of the user's own failed.
    #[error("grading with `{grader}` failed")]
    Grader {
        /// The grader.
        grader: String,
        /// The failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The models failed.
    #[error("the models failed on {what}")]
    Models {
        /// The item, or the batch of items.
        what: String,
        /// The failure.
        source: Box<eft_core::Error>,
    },
    /// The combination or its settings are not valid.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action: "read", path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action: "write", path, source }
    }

    pub(crate) fn setting(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::Setting { name, value: value.to_string(), expected }
    }
}
