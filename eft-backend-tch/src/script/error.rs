use std::path::{Path, PathBuf};

/// Why a TorchScript module is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A file that is not there, or that libtorch does not load.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What libtorch said.
        source: tch::TchError,
    },
    /// A module that does not keep to the calling convention.
    #[error("{}: {problem}", file.display())]
    Convention {
        /// The file.
        file: PathBuf,
        /// What was found as it was tried out.
        problem: String,
    },
    /// A vocabulary that does not fit.
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

impl ScriptError {
    /// What trying it out led to.
    pub(super) fn convention(file: &Path, error: impl std::fmt::Display) -> Self {
        Self::Convention { file: file.into(), problem: error.to_string() }
    }
}
