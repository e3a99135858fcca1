use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::extract::Extract;
use super::grader::{Answer, Grade, Grader, needs_references};
use super::item::Item;
use crate::{Error, Result};

/// Counts an answer as right if its last number equals that of a reference, up to a tolerance.
///
/// Numbers may have a sign, commas between groups of three digits, a decimal point and an exponent. The number `x` of
/// an answer is right if `|x − r| ≤ max(absolute, relative·|r|)` for the number `r` of a reference. Both tolerances are
/// 0 by default.
///
/// ```
/// use eft_eval::{Item, Items, NumericMatch, Task};
///
/// let items = Items::of([Item::new("1", "How many?").reference("6 boxes of 12 are #### 72")])?;
/// let task = Task::texts(items, NumericMatch::default().relative(0.01)?)?;
/// # let _ = task;
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct NumericMatch {
    absolute: f64,
    relative: f64,
    extract: Option<Extract>,
}

impl NumericMatch {
    /// Sets the absolute tolerance.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is negative or not finite.
    pub fn absolute(mut self, tolerance: f64) -> Result<Self> {
        self.absolute = checked("absolute", tolerance)?;
        Ok(self)
    }

    /// Sets the tolerance relative to the reference.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is negative or not finite.
    pub fn relative(mut self, tolerance: f64) -> Result<Self> {
        self.relative = checked("relative", tolerance)?;
        Ok(self)
    }

    /// Looks for the number only in the part of each answer that is found.
    pub fn extract(mut self, extract: Extract) -> Self {
        self.extract = Some(extract);
        self
    }

    fn one(&self, answer: &Answer<'_>) -> Grade {
        let part = match &self.extract {
            None => Some(answer.text),
            Some(extract) => extract.find(answer.text),
        };
        let Some((text, number)) = part.and_then(last_number) else { return Grade::right(false) };
        let equal =
            |reference: f64| (number - reference).abs() <= self.absolute.max(self.relative * reference.abs());
        let mut references = answer.item.references.iter().filter_map(|r| last_number(r));
        Grade::right(references.any(|(_, reference)| equal(reference))).extracted(text)
    }
}

fn checked(name: &'static str, tolerance: f64) -> Result<f64> {
    match tolerance.is_finite() && tolerance >= 0.0 {
        true => Ok(tolerance),
        false => Err(Error::setting(name, tolerance, "a finite number, 0 or above")),
    }
}

/// The last number in a text, as it is written and as a value.
fn last_number(text: &str) -> Option<(&str, f64)> {
    #[expect(clippy::expect_used, reason = "a constant, which the tests compile")]
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        let number = r"[-+\u{2212}]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?";
        Regex::new(number).expect("the expression is well-formed")
    });
    let found = NUMBER.find_iter(text).last()?;
    let mut written = found.as_str();
    // In `5-3`, the sign is an operator.
    if text[..found.start()].ends_with(|c: char| c.is_alphanumeric()) {
        written = written.trim_start_matches(['-', '+', '\u{2212}']);
    }
    let plain: String = written.replace('\u{2212}', "-").replace(',', "");
    Some((written, plain.parse().ok()?))
}

impl Grader for NumericMatch {
    fn name(&self) -> String {
        "numeric match".into()
    }

    fn settings(&self) -> Value {
        let extract = self.extract.as_ref().map(Extract::to_json);
        json!({ "absolute": self.absolute, "relative": self.relative, "extract": extract })
    }

    fn check(&self, item: &Item) -> Result<()> {
        needs_references(item)?;
        match item.references.iter().find(|reference| last_number(reference).is_none()) {
            None => Ok(()),
            Some(reference) => Err(item.fault("references", format!("`{reference}` has no number"))),
        }
    }

    fn grade(&self, answers: &[Answer<'_>]) -> Result<Vec<Grade>> {
        Ok(answers.iter().map(|answer| self.one(answer)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_as_it_is_written() {
        for (text, expected) in [
            ("It is 42.", Some(("42", 42.0))),
            ("1,234,567.5 in all", Some(("1,234,567.5", 1_234_567.5))),
            ("of 3, 4 remain", Some(("4", 4.0))),
            ("5-3", Some(("3", 3.0))),
            ("it fell to -3", Some(("-3", -3.0))),
            ("minus \u{2212}.5", Some(("\u{2212}.5", -0.5))),
            ("about 6.02e23 of them", Some(("6.02e23", 6.02e23))),
            ("none", None),
            ("$1,00", Some(("00", 0.0))),
        ] {
            assert_eq!(last_number(text), expected, "in {text:?}");
        }
    }
}
