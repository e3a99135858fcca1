use std::collections::BTreeMap;
use std::path::Path;

use eft_core::decode::FinishReason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::header::{Header, HeaderLine};
use crate::{Error, Result};

/// The results of a run.
///
/// ```no_run
/// use eft_eval::Results;
///
/// let results = Results::read("results/base.jsonl")?;
/// println!("{}: {} items", results.header.formula, results.items.len());
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Results {
    /// What was run.
    pub header: Header,
    /// The result of each item. Those of a run are in the order of the task's items.
    pub items: Vec<ItemResult>,
}

/// The result of one item: a line of a file of results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ItemResult {
    /// The item's id.
    pub item: String,
    /// What the source made of it.
    pub output: Output,
    /// The item's other fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

/// What a source made of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Output {
    /// A text, and its score.
    Text {
        /// The score.
        #[serde(with = "number")]
        score: f64,
        /// The text.
        text: String,
        /// The part of it that was graded, if it is not the whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extracted: Option<String>,
        /// The number of tokens, including those that ended the text.
        tokens: usize,
        /// How the text ended.
        finish: FinishReason,
    },
    /// The log-likelihood of each choice.
    Choices {
        /// The index of the right one.
        label: usize,
        /// The choices, in their order.
        choices: Vec<ChoiceScore>,
    },
    /// The log-likelihood of a text.
    Likelihood {
        /// The negative log-probability of its tokens, in nats.
        #[serde(with = "number")]
        nats: f64,
        /// The number of tokens that were scored.
        tokens: usize,
        /// The number of bytes of these tokens.
        bytes: usize,
    },
    /// The models refused the item, so it has no score.
    Refused {
        /// The reason.
        reason: String,
    },
}

/// The log-likelihood of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChoiceScore {
    /// The log-probability of its tokens, in nats.
    #[serde(with = "number")]
    pub log_likelihood: f64,
    /// The number of its tokens.
    pub tokens: usize,
    /// The number of its bytes, without the delimiter before it.
    pub bytes: usize,
}

impl Results {
    /// Reads a file of results. Those of a run that is not finished are in the order in which they were written, and a
    /// line that is being written is left out.
    ///
    /// # Errors
    /// * [`Error::File`] if the file cannot be read.
    /// * [`Error::Line`] if a line is not what this crate has written.
    pub fn read(file: impl AsRef<Path>) -> Result<Self> {
        let path = file.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = complete.lines().enumerate();
        let Some((index, line)) = lines.next() else {
            let reason = "it is not a file of results, or its header is not complete".into();
            return Err(Error::Line { origin: path.display().to_string(), reason });
        };
        let HeaderLine { header } = parse(path, index, line)?;
        let items = lines.map(|(index, line)| parse(path, index, line)).collect::<Result<_>>()?;
        Ok(Self { header, items })
    }
}

/// Reads a line of a file of results.
pub(super) fn parse<T: serde::de::DeserializeOwned>(path: &Path, index: usize, line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|error| Error::Line {
        origin: format!("{}, line {}", path.display(), index + 1),
        reason: format!("the line is not one of a file of results: {error}"),
    })
}

/// Numbers that may be infinite, which JSON writes as text.
mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Text(String),
    }

    pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match number.is_finite() {
            true => Number::Finite(*number),
            false => Number::Text(number.to_string()),
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Number::deserialize(deserializer)? {
            Number::Finite(number) => Ok(number),
            Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
