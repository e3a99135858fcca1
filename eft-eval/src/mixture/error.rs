use std::path::PathBuf;

/// The result of fitting, saving or loading weights.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why weights cannot be fitted, saved or loaded.
///
/// The message does not contain that of its source: print the chain to see both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to fit to.
    #[error("the texts have no tokens")]
    NoTokens,
    /// A token cannot be explained by any weights.
    #[error("token {token} of text {text} has probability zero in every source")]
    Impossible {
        /// The index of the text.
        text: usize,
        /// The index of the token in the text, after its prompt.
        token: usize,
    },
    /// The weights depend on something that was not observed.
    #[error("the weights are for {expected}, but the observations are for {got}")]
    OtherFeatures {
        /// The sources and features of the weights.
        expected: String,
        /// The sources and features of the observations.
        got: String,
    },
    /// A setting of the fit is out of range.
    #[error("{name} is {value}, but must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A file does not hold the weights of a mixture.
    #[error("{} does not hold the weights of a mixture", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The field, line and column at fault.
        source: serde_json::Error,
    },
    /// A source or its backend failed.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}
