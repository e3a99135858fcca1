use serde_json::{Value, json};

use super::extract::Extract;
use super::grader::{Answer, Grade, Grader, needs_references};
use super::item::Item;
use super::normalise::Normalise;
use crate::Result;

/// Counts an answer as right if it equals one of the references.
///
/// ```
/// use eft_eval::{ExactMatch, Extract, Item, Items, Normalise, Task};
///
/// let items = Items::of([Item::new("1", "Who heals the sick?").reference("A nurse.")])?;
/// let grader = ExactMatch::default().normalise(Normalise::Squad).extract(Extract::first("Answer: (.*)")?);
/// let task = Task::texts(items, grader)?;
/// # let _ = task;
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ExactMatch {
    normalise: Normalise,
    extract: Option<Extract>,
}

impl ExactMatch {
    /// Sets what is done to answers and references before they are compared. By default they are trimmed.
    pub fn normalise(mut self, normalise: Normalise) -> Self {
        self.normalise = normalise;
        self
    }

    /// Compares only the part of each answer that is found. An answer in which nothing is found is wrong.
    pub fn extract(mut self, extract: Extract) -> Self {
        self.extract = Some(extract);
        self
    }

    fn one(&self, answer: &Answer<'_>) -> Grade {
        let found = match &self.extract {
            None => Some(answer.text),
            Some(extract) => extract.find(answer.text),
        };
        let Some(found) = found else { return Grade::right(false) };
        let text = self.normalise.apply(found);
        let grade = Grade::right(answer.item.references.iter().any(|r| self.normalise.apply(r) == text));
        if self.extract.is_some() { grade.extracted(found) } else { grade }
    }
}

impl Grader for ExactMatch {
    fn name(&self) -> String {
        "exact match".into()
    }

    fn settings(&self) -> Value {
        json!({ "normalise": self.normalise, "extract": self.extract.as_ref().map(Extract::to_json) })
    }

    fn check(&self, item: &Item) -> Result<()> {
        needs_references(item)
    }

    fn grade(&self, answers: &[Answer<'_>]) -> Result<Vec<Grade>> {
        Ok(answers.iter().map(|answer| self.one(answer)).collect())
    }
}
