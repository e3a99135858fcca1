use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stats::{Bootstrap, Clusters, Estimate, StatsError};

/// The scores of all values of a sweep on one part of the items.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// For each value, the scores of the items. Higher scores are better.
    pub scores: Vec<Vec<f64>>,
    /// The clusters of the items.
    pub clusters: Clusters,
}

/// A value of a sweep, with its mean scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfValue<V> {
    /// The value.
    pub value: V,
    /// Its mean score on the validation items.
    pub validation: Estimate,
    /// Its mean score on the test items.
    pub test: Estimate,
}

/// The value of a sweep that is best on the validation items, beside all others.
///
/// Its score on the validation items is too high on average, since it was chosen for it. Report its score on the test
/// items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice<V> {
    /// The scores of all values, in the order of the sweep.
    pub values: Vec<OfValue<V>>,
    /// The index of the chosen value.
    pub chosen: usize,
}

/// Chooses the value with the highest mean score on the validation items; the smallest of several that are equally good.
///
/// The scores on the test items do not influence the choice. See the [module](super) for an example.
///
/// # Errors
/// * [`StatsError::TooFew`] if there are no values.
/// * [`StatsError::Lengths`] unless each part has scores for each value.
/// * [`StatsError::NotFinite`] if a value has no order, as NaN.
/// * The errors of [`Bootstrap::mean`], for the scores of either part.
pub fn choose<V: Clone + PartialOrd + fmt::Debug>(
    values: &[V],
    validation: &Part,
    test: &Part,
    bootstrap: &Bootstrap,
) -> Result<Choice<V>, StatsError> {
    if values.is_empty() {
        return Err(StatsError::TooFew { what: "values of a sweep", needed: 1, got: 0 });
    }
    let lists = [("lists of validation scores", &validation.scores), ("lists of test scores", &test.scores)];
    for (what, scores) in lists {
        if scores.len() != values.len() {
            return Err(StatsError::Lengths { what, expected: values.len(), got: scores.len() });
        }
    }
    if let Some(index) = values.iter().position(|value| value.partial_cmp(value).is_none()) {
        let value = format!("{:?}", values[index]);
        return Err(StatsError::NotFinite { what: "value of a sweep,", index, value });
    }
    let scored = values.iter().zip(validation.scores.iter().zip(&test.scores));
    let scored = scored.map(|(value, (of_validation, of_test))| {
        Ok(OfValue {
            value: value.clone(),
            validation: bootstrap.mean(of_validation, &validation.clusters)?,
            test: bootstrap.mean(of_test, &test.clusters)?,
        })
    });
    let values = scored.collect::<Result<Vec<_>, _>>()?;
    let better = |a: &OfValue<V>, b: &OfValue<V>| {
        let (a_score, b_score) = (a.validation.value, b.validation.value);
        a_score > b_score || (a_score == b_score && a.value < b.value)
    };
    let chosen = (1..values.len()).fold(0, |best, next| match better(&values[next], &values[best]) {
        true => next,
        false => best,
    });
    Ok(Choice { values, chosen })
}

impl<V> Choice<V> {
    /// Returns the chosen value.
    pub fn value(&self) -> &V {
        &self.of_chosen().value
    }

    /// Returns the chosen value with its scores.
    pub fn of_chosen(&self) -> &OfValue<V> {
        &self.values[self.chosen]
    }
}

impl<V: fmt::Display> fmt::Display for Choice<V> {
    /// Writes a table with a line for each value; the chosen one is marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        let cells = |of: &OfValue<V>| {
            [of.value.to_string(), format!("{:.digits$}", of.validation), format!("{:.digits$}", of.test)]
        };
        let header = ["value", "validation", "test"].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(header).chain(self.values.iter().map(cells)).collect();
        let widths = [0, 1].map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0));
        for (index, [value, validation, test]) in lines.iter().enumerate() {
            let mark = if index == self.chosen + 1 { " ← chosen" } else { "" };
            writeln!(f, "{value:>0$}  {validation:<1$}  {test}{mark}", widths[0], widths[1])?;
        }
        Ok(())
    }
}
