//! The zoo's questions about people whom none of its models was tuned on.
#![allow(dead_code)] // Not every example asks all of them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A question, and the answer to it.
#[derive(Deserialize)]
pub(crate) struct Question {
    pub(crate) question: String,
    pub(crate) answer: String,
}

/// The file of a kind of questions, as JSON lines: `short`, `long` or `portrait`.
pub(crate) fn file(kind: &str) -> PathBuf {
    format!("{}/zoo/questions/test-{kind}.jsonl", env!("CARGO_MANIFEST_DIR")).into()
}

/// The first questions of a kind.
pub(crate) fn questions(kind: &str, count: usize) -> Result<Vec<Question>> {
    let file = file(kind);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .take(count)
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}", file.display())))
        .collect()
}
