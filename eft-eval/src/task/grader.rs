use serde_json::Value;

use super::item::Item;
use crate::Result;

/// Gives each answer a score. [`ExactMatch`](super::ExactMatch), [`NumericMatch`](super::NumericMatch),
/// [`PassFail`](super::PassFail) and [`ImplicitReward`](super::ImplicitReward) implement it.
///
/// ```
/// use eft_eval::task::{Answer, Grade, Grader};
///
/// /// The share of the reference's words that the answer contains.
/// struct Recall;
///
/// impl Grader for Recall {
///     fn name(&self) -> String {
///         "recall".into()
///     }
///
///     fn grade(&self, answers: &[Answer<'_>]) -> eft_eval::Result<Vec<Grade>> {
///         let grade = |answer: &Answer<'_>| {
///             let words: Vec<_> = answer.item.references.iter().flat_map(|r| r.split_whitespace()).collect();
///             let found = words.iter().filter(|word| answer.text.contains(**word)).count();
///             Grade::new(found as f64 / words.len().max(1) as f64)
///         };
///         Ok(answers.iter().map(grade).collect())
///     }
/// }
/// ```
pub trait Grader: Send + Sync {
    /// Returns the name of the score, for tables.
    fn name(&self) -> String;

    /// Returns the settings that the score depends on. A file of results holds them, and is continued only if they are
    /// still the same. By default there are none.
    fn settings(&self) -> Value {
        Value::Null
    }

    /// Checks that an item has what the score needs. By default it needs nothing.
    ///
    /// # Errors
    /// [`Error::Field`](crate::Error::Field) if a field is missing.
    fn check(&self, item: &Item) -> Result<()> {
        let _ = item;
        Ok(())
    }

    /// Returns the scores of a batch of answers, one for each.
    ///
    /// # Errors
    /// Any failure that is not the fault of an answer: it ends the run.
    fn grade(&self, answers: &[Answer<'_>]) -> Result<Vec<Grade>>;
}

/// An answer that is to be graded.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The item.
    pub item: &'a Item,
    /// The text that was generated.
    pub text: &'a str,
    /// Whether the text ended by itself, at an end-of-sequence token. A stop string, the limit of tokens or a full
    /// context ends it otherwise.
    pub ended: bool,
}

/// The score of an answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Grade {
    /// The score: 1 for right and 0 for wrong, or any number of which higher is better.
    pub score: f64,
    /// The part of the text that was graded, if it is not the whole.
    pub extracted: Option<String>,
}

impl Grade {
    /// Creates the grade of a score.
    #[must_use]
    pub fn new(score: f64) -> Self {
        Self { score, extracted: None }
    }

    /// Creates the grade 1 for a right answer and 0 for a wrong one.
    #[must_use]
    pub fn right(right: bool) -> Self {
        Self::new(if right { 1.0 } else { 0.0 })
    }

    /// Records the part of the text that was graded.
    #[must_use]
    pub fn extracted(mut self, part: impl Into<String>) -> Self {
        self.extracted = Some(part.into());
        self
    }
}

/// Checks that an item has references.
pub(super) fn needs_references(item: &Item) -> Result<()> {
    match item.references.is_empty() {
        true => Err(item.fault("references", "it is missing or empty, and so is `answer`")),
        false => Ok(()),
    }
}
