//! What can be wrong with a checkpoint: always the file, and the field or tensor at fault.
//!
//! ```
//! use eft_models::{Checkpoint, Error};
//!
//! let missing = Checkpoint::open("/nonexistent");
//! assert!(matches!(missing, Err(Error::Io { .. })));
//! ```
use std::path::PathBuf;

/// What loading returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a checkpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration that lacks a field, or holds something else in it than expected.
    #[error("{}: `{field}` {reason}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// The field, with dots between levels.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An architecture that this crate does not know.
    #[error("{}: model type `{found}` is not supported; these are: {known}", file.display())]
    UnknownArchitecture {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
        /// What is known.
        known: String,
    },
    /// A file of tensors that contradicts itself.
    #[error("{}: {reason}", file.display())]
    BadFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that is missing, or has another shape or type than the configuration says.
    #[error("{}: tensor `{tensor}` {reason}", file.display())]
    BadTensor {
        /// The file, or the folder where no file has the tensor.
        file: PathBuf,
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A vocabulary or a backend that refuses what was read.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

impl From<Error> for eft_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) => error,
            error => Self::load(error),
        }
    }
}
