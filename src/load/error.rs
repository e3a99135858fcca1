//! [`Error`]: why a model could not be loaded.
//!
//! ```
//! let error = eft::load("no such model").unwrap_err();
//! assert!(matches!(error, eft::load::Error::NotFound { .. }));
//! ```
//!
//! It converts into [`eft::Error`](crate::Error), so `?` works in a function that returns
//! [`eft::Result`](crate::Result):
//!
//! ```
//! fn answer(model: &str) -> eft::Result<String> {
//!     let source = eft::load(model)?;
//!     source.generate("The sky is", eft::Sampling::greedy())?.text()?.collect()
//! }
//! assert!(answer("no such model").unwrap_err().to_string().contains("no such model"));
//! ```

/// The result of loading a model.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is neither that of a folder or file that this build can load nor a valid id for the hub.
    #[error("`{name}` {reason}")]
    NotFound {
        /// The name as it was given.
        name: String,
        /// A description of the fault.
        reason: String,
    },
    /// The name is not that of a folder or file, and as an id on the hub it failed: a file could be neither downloaded
    /// from the hub nor found in the local cache.
    #[error("there is no folder or file `{id}` here, and on the Hugging Face hub, {file} {reason}")]
    Hub {
        /// The model's id.
        id: String,
        /// The requested file.
        file: String,
        /// The reason of the failure, and advice.
        reason: String,
    },
    /// A checkpoint, tokenizer or template is broken or not supported.
    #[error(transparent)]
    Files(#[from] eft_models::Error),
    /// An ONNX file is broken or not supported.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Onnx(#[from] eft_backend_ort::Error),
    /// A server cannot be used.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Remote(#[from] eft_backend_remote::Error),
    /// A vocabulary or a backend refuses the model's data.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

impl From<Error> for eft_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) => error,
            Error::Files(error) => error.into(),
            #[cfg(feature = "ort")]
            Error::Onnx(error) => error.into(),
            #[cfg(feature = "remote")]
            Error::Remote(error) => error.into(),
            error @ (Error::NotFound { .. } | Error::Hub { .. }) => Self::load(error),
        }
    }
}
