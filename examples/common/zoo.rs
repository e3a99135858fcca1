//! The zoo's questions about people whom none of its models was tuned on.
use std::path::PathBuf;

/// A file of JSON lines, each with a `question` and its `answer`, of a kind: `short`, `long` or `portrait`.
pub(crate) fn questions(kind: &str) -> PathBuf {
    format!("{}/zoo/questions/test-{kind}.jsonl", env!("CARGO_MANIFEST_DIR")).into()
}
