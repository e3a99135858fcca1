//! [`ScriptError`]: why a TorchScript module could not be loaded.
use std::path::PathBuf;

use eft_models::graph::GraphError;

/// Why a TorchScript module could not be loaded.
///
/// A message names the file. The cause is the [source](std::error::Error::source) of the error, and not part of the
/// message.
///
/// ```
/// use eft_backend_tch::{ScriptError, ScriptOptions, Torch, load_script};
///
/// let error = load_script("missing.pt", &Torch::cpu(), &ScriptOptions::default(), None).err();
/// assert!(matches!(error, Some(ScriptError::Unreadable { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The file does not exist, or libtorch cannot load it.
    #[error("cannot load the TorchScript module `{}`", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of libtorch.
        source: tch::TchError,
    },
    /// The module does not follow the calling convention, as a test with a few tokens showed.
    #[error("the TorchScript module `{}` does not follow the calling convention", file.display())]
    Convention {
        /// The file.
        file: PathBuf,
        /// The fault that the test found.
        source: Box<GraphError>,
    },
    /// The vocabulary does not fit the model.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

impl From<ScriptError> for eft_core::Error {
    fn from(error: ScriptError) -> Self {
        match error {
            ScriptError::Core(error) => error,
            error => Self::load(error),
        }
    }
}
