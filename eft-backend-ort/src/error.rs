//! What can be wrong with the library of ONNX Runtime, or with a model: always the file, and the name at fault.
//!
//! ```
//! use eft_backend_ort::{Error, Options, Ort};
//!
//! // Unless the process has a library already.
//! if let Err(error) = Ort::new(&Options::default().library("/nonexistent/libonnxruntime.so")) {
//!     assert!(matches!(error, Error::Library { .. }));
//! }
//! ```
use std::path::PathBuf;

/// What loading returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library of ONNX Runtime is missing, too old, or something else.
    #[error(
        "cannot load ONNX Runtime from `{}`: {reason}; set ORT_DYLIB_PATH, or `Options::library`, to the \
         libonnxruntime of version 1.23 or newer, such as the one in PyPI's wheel `onnxruntime`",
        path.display()
    )]
    Library {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system or the library said.
        reason: String,
    },
    /// Another number of threads than the process's pool was made with.
    #[error("{asked} threads were asked for, but the pool of this process was made with {}", pool(*there))]
    Threads {
        /// Asked for.
        asked: usize,
        /// What the pool was made with; `None` for the default.
        there: Option<usize>,
    },
    /// A file or folder that cannot be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without a model in any of the usual places.
    #[error("{}: no model found; looked for {}", folder.display(), looked_for.join(", "))]
    NoModel {
        /// The folder.
        folder: PathBuf,
        /// The names that were tried.
        looked_for: Vec<String>,
    },
    /// A configuration that is no JSON, or holds something else in a field than expected.
    #[error("{}: {reason}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that ONNX Runtime refuses.
    #[error("{}: {source}", file.display())]
    BadModel {
        /// The file.
        file: PathBuf,
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// A model whose inputs or outputs are not those of a decoder.
    #[error(
        "{}: {problem}; inputs: {}; outputs: {}; expected are {expected}",
        file.display(),
        inputs.join(", "),
        outputs.join(", ")
    )]
    Interface {
        /// The file.
        file: PathBuf,
        /// Which input or output is wrong, and how.
        problem: String,
        /// The inputs there are, with their types.
        inputs: Vec<String>,
        /// The outputs there are, with their types.
        outputs: Vec<String>,
        /// What a decoder has.
        expected: &'static str,
    },
    /// A model whose cache does not do what caches are for.
    #[error("{}: {problem}", file.display())]
    Cache {
        /// The file.
        file: PathBuf,
        /// What was tried, and came out otherwise.
        problem: String,
    },
    /// A failure of ONNX Runtime.
    #[error("ONNX Runtime: {0}")]
    Ort(#[from] ort::Error),
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

fn pool(threads: Option<usize>) -> String {
    threads.map_or("the default".into(), |threads| threads.to_string())
}
