//! What can go wrong between a name and a model.
//!
//! ```
//! let error = eft::load("no such model").unwrap_err();
//! assert!(matches!(error, eft::load::Error::NotFound { .. }));
//! ```
/// What loading returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that leads to nothing.
    #[error("`{name}` {reason}")]
    NotFound {
        /// As it was given.
        name: String,
        /// What it is not.
        reason: String,
    },
    /// The hub, or its cache, does not give a file.
    #[error("`{id}` on the hub: {file}: {reason}")]
    Hub {
        /// The model.
        id: String,
        /// The file asked for.
        file: String,
        /// What was the matter, and what to do.
        reason: String,
    },
    /// A checkpoint, tokenizer or template that is broken or not supported.
    #[error(transparent)]
    Files(#[from] eft_models::Error),
    /// An ONNX file that is broken or not supported.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Onnx(#[from] eft_backend_ort::Error),
    /// A vocabulary or a backend that refuses what was read.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}
