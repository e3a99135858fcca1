//! The zoo's test questions, about people who are not in the texts that its models were tuned on.
#![allow(dead_code)] // Not every example uses all of this.

use std::path::{Path, PathBuf};

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
    file_of("test", kind)
}

/// The first questions of one kind.
pub(crate) fn questions(kind: &str, count: usize) -> Result<Vec<Question>> {
    read(&file(kind), count)
}

/// Portraits of other people than those whom the test questions are about: of those whom the models were tuned on.
pub(crate) fn other_portraits() -> Result<Vec<String>> {
    let questions = read(&file_of("tuning", "portrait"), usize::MAX)?;
    Ok(questions.into_iter().map(|question| question.answer).collect())
}

fn file_of(part: &str, kind: &str) -> PathBuf {
    format!("{}/zoo/questions/{part}-{kind}.jsonl", env!("CARGO_MANIFEST_DIR")).into()
}

fn read(file: &Path, count: usize) -> Result<Vec<Question>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .take(count)
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}", file.display())))
        .collect()
}
