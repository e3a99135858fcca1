//! [`Error`]: why a model or adapter cannot be loaded. It names the file, and the field or tensor at fault.
//!
//! ```
//! use eft_models::{Checkpoint, Error};
//!
//! let missing = Checkpoint::open("/nonexistent");
//! assert!(matches!(missing, Err(Error::Io { .. })));
//! ```
use std::path::PathBuf;

/// The result of loading.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model or adapter cannot be loaded.
///
/// Messages do not repeat their [`source`](std::error::Error::source): print the whole chain, as `{:#}` of `anyhow`
/// does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A field of a configuration is missing, or has a value that is invalid or not supported.
    #[error("{}: `{field}` {reason}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// The field; nested fields are separated by dots.
        field: String,
        /// A description of the fault.
        reason: String,
    },
    /// The architecture is not supported.
    #[error("{}: model type `{found}` is not supported; supported are: {known}", file.display())]
    UnknownArchitecture {
        /// The file.
        file: PathBuf,
        /// The model type of the configuration.
        found: String,
        /// The supported ones.
        known: String,
    },
    /// A PEFT adapter was given as a model.
    #[error(
        "{} holds a PEFT adapter, not a model: load its base model and add the adapter to it \
         (`Loader::adapter`, or `DecoderEngine::with_adapters`)",
        folder.display()
    )]
    AdapterFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A file is truncated, corrupt, or of another format than expected.
    #[error("{}: {reason}", file.display())]
    BadFile {
        /// The file.
        file: PathBuf,
        /// A description of the fault.
        reason: String,
    },
    /// A tensor is missing, or has another shape or type than expected.
    #[error("{}: tensor `{tensor}` {reason}", file.display())]
    BadTensor {
        /// The file; the folder, if none of its files has the tensor.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// A description of the fault.
        reason: String,
    },
    /// The vocabulary or the backend refused the model's data.
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
