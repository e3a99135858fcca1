use regex::Regex;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Finds the answer in a longer text by a regular expression: its first group, or the whole match if it has none.
///
/// ```
/// use eft_eval::Extract;
///
/// let answer = Extract::last(r"(?i)the answer is (\w+)")?;
/// assert_eq!(answer.find("The answer is no. Or rather, the answer is yes."), Some("yes"));
/// assert_eq!(answer.find("I do not know."), None);
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Extract {
    pattern: Regex,
    last: bool,
}

impl Extract {
    /// Takes the first match of a regular expression, in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the expression is malformed.
    pub fn first(pattern: &str) -> Result<Self> {
        Self::new(pattern, false)
    }

    /// Takes the last match of a regular expression.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the expression is malformed.
    pub fn last(pattern: &str) -> Result<Self> {
        Self::new(pattern, true)
    }

    fn new(pattern: &str, last: bool) -> Result<Self> {
        let compiled = Regex::new(pattern);
        let pattern = compiled
            .map_err(|source| Error::Pattern { pattern: pattern.into(), source: Box::new(source) })?;
        Ok(Self { pattern, last })
    }

    /// Returns the answer in a text; `None` if nothing matches.
    #[must_use]
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut matches = self.pattern.captures_iter(text);
        let found = if self.last { matches.last() } else { matches.next() }?;
        found.iter().skip(1).flatten().next().or_else(|| found.get(0)).map(|part| part.as_str())
    }

    /// The expression, for the description of a task.
    pub(super) fn to_json(&self) -> Value {
        json!({ "pattern": self.pattern.as_str(), "match": if self.last { "last" } else { "first" } })
    }
}
