//! The zoo's test questions, about people who are not in the texts that its models were tuned on.
#![allow(dead_code)] // Not every example uses all of this.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A question and its answer.
#[derive(Deserialize)]
pub(crate) struct Question {
    pub(crate) question: String,
    pub(crate) answer: String,
}

/// The file of one kind of questions, `short`, `long` or `portrait`, as JSON lines.
pub(crate) fn file(kind: &str) -> PathBuf {
    format!("{}/zoo/questions/test-{kind}.jsonl", env!("CARGO_MANIFEST_DIR")).into()
}

/// The first questions of one kind.
pub(crate) fn questions(kind: &str, count: usize) -> Result<Vec<Question>> {
    let file = file(kind);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .take(count)
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}", file.display())))
        .collect()
}
