//! [`Error`]: why ONNX Runtime or a model could not be loaded.
use std::path::PathBuf;

use eft_core::error::BoxError;
use eft_models::graph::GraphError;

/// The result of loading.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why ONNX Runtime or a model could not be loaded.
///
/// A message names the file. The cause, if any, is the [source](std::error::Error::source) of the error, and not part
/// of the message.
///
/// ```
/// use eft_backend_ort::{Error, Options, Ort};
///
/// // This is an error unless the process has loaded a library already.
/// if let Err(error) = Ort::new(&Options::default().library("/nonexistent/libonnxruntime.so")) {
///     assert!(matches!(error, Error::Library { .. }));
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library of ONNX Runtime is missing, too old, or not ONNX Runtime.
    #[error(
        "cannot load ONNX Runtime from `{}`; set ORT_DYLIB_PATH, or `Options::library`, to the libonnxruntime of \
         version 1.23 or newer, such as the one in PyPI's wheel `onnxruntime`",
        path.display()
    )]
    Library {
        /// The path that was tried.
        path: PathBuf,
        /// The error of the system's loader or of ONNX Runtime.
        source: BoxError,
    },
    /// A path was given for the library, but ONNX Runtime is linked into the program.
    #[error(
        "cannot load ONNX Runtime from `{}`, since it is linked into the program: the feature `load-dynamic` is off",
        path.display()
    )]
    LibraryLinked {
        /// The path that was given.
        path: PathBuf,
    },
    /// The process has one thread pool, and it has another number of threads.
    #[error(
        "{requested} threads were requested, but the process's thread pool was made with {}",
        pool(*existing)
    )]
    Threads {
        /// The requested number.
        requested: usize,
        /// The number that the pool was made with; `None` for the default.
        existing: Option<usize>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read `{}`", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A folder holds no model at any of the usual paths.
    #[error("no model found in `{}`; tried {}", folder.display(), tried.join(", "))]
    NoModel {
        /// The folder.
        folder: PathBuf,
        /// The paths that were tried, relative to the folder.
        tried: Vec<String>,
    },
    /// A configuration is not valid JSON, or holds a field of the wrong type.
    #[error("`{}` is not a valid configuration", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// Where it is wrong, and how.
        source: BoxError,
    },
    /// ONNX Runtime rejects a model.
    #[error("ONNX Runtime cannot load the model `{}`", file.display())]
    BadModel {
        /// The file.
        file: PathBuf,
        /// The error of ONNX Runtime.
        source: ort::Error,
    },
    /// The inputs or outputs of a model are not those of a decoder.
    #[error(
        "`{}` is not a decoder: {problem}; it has inputs: {}; outputs: {}; expected are {expected}",
        file.display(),
        inputs.join(", "),
        outputs.join(", ")
    )]
    Interface {
        /// The file.
        file: PathBuf,
        /// Which input or output is wrong, and how.
        problem: String,
        /// The model's inputs, with their types.
        inputs: Vec<String>,
        /// The model's outputs, with their types.
        outputs: Vec<String>,
        /// The inputs and outputs of a decoder.
        expected: &'static str,
    },
    /// The cache of a model does not work.
    #[error("the KV cache of `{}` cannot be used", file.display())]
    Cache {
        /// The file.
        file: PathBuf,
        /// The fault that the test of the cache found.
        source: Box<GraphError>,
    },
    /// ONNX Runtime failed.
    #[error("ONNX Runtime failed")]
    Ort(#[from] ort::Error),
    /// A vocabulary does not fit the model, or the backend failed.
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

fn pool(threads: Option<usize>) -> String {
    threads.map_or("the default".into(), |threads| threads.to_string())
}
