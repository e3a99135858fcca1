//! [`FieldWarning`]: a field of a file that is missing or wrong, where the file can be used nevertheless.
//!
//! ```
//! use eft_models::Checkpoint;
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert!(checkpoint.warnings().is_empty());
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::fmt;
use std::path::PathBuf;

/// A field of a file that is missing or wrong, where the file can be used nevertheless.
///
/// ```
/// use eft_models::FieldWarning;
///
/// let warning = FieldWarning::new("config.json", "eos_token_id", "is -1, which is not a token: it is ignored");
/// assert_eq!(warning.to_string(), "config.json: `eos_token_id` is -1, which is not a token: it is ignored");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldWarning {
    /// The file.
    pub file: PathBuf,
    /// The field's name in the file.
    pub field: String,
    /// What is wrong with it, and what is done about it.
    pub finding: String,
}

impl FieldWarning {
    /// Creates a warning.
    pub fn new(file: impl Into<PathBuf>, field: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { file: file.into(), field: field.into(), finding: finding.into() }
    }
}

impl fmt::Display for FieldWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` {}", self.file.display(), self.field, self.finding)
    }
}
