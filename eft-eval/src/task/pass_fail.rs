use serde_json::{Value, json};

use super::grader::{Answer, Grade, Grader};
use super::item::Item;
use crate::{Error, Result};

type Test = dyn Fn(&Item, &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// Counts an answer as right if a function of yours says so: one that runs a program's tests, for example.
///
/// ```
/// use eft_eval::{Item, Items, PassFail, Task};
///
/// let items = Items::of([Item::new("1", "Say something short.")])?;
/// let task = Task::texts(items, PassFail::new("short", |_, text| Ok(text.len() < 40)))?;
/// # let _ = task;
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[must_use]
pub struct PassFail {
    name: String,
    version: String,
    test: Box<Test>,
}

impl PassFail {
    /// Creates the grader of a name and a function of the item and the text.
    ///
    /// An error that the function returns ends the run, as a missing program should; a text that is merely wrong is
    /// `Ok(false)`.
    pub fn new(
        name: impl Into<String>,
        test: impl Fn(&Item, &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { name: name.into(), version: String::new(), test: Box::new(test) }
    }

    /// Sets the version of the function. Change it when the function changes, so that a file of results is not
    /// continued with another function than it was begun with.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }
}

impl Grader for PassFail {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn settings(&self) -> Value {
        json!({ "version": self.version })
    }

    fn grade(&self, answers: &[Answer<'_>]) -> Result<Vec<Grade>> {
        let failed = |source| Error::Grader { grader: self.name.clone(), source };
        let one =
            |answer: &Answer<'_>| (self.test)(answer.item, answer.text).map(Grade::right).map_err(failed);
        answers.iter().map(one).collect()
    }
}

impl std::fmt::Debug for PassFail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassFail").field("name", &self.name).finish_non_exhaustive()
    }
}
