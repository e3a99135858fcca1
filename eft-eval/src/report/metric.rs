use std::collections::HashMap;

use crate::run::{ChoiceScore, ItemResult, Output, Results};
use crate::stats::{Bootstrap, Clusters, Interval, StatsError};
use crate::task::LengthNorm;
use crate::{Error, Result};

/// A number that is computed from the results of a run: the ratio of a sum over items to another one.
///
/// For a mean, the second sum is the number of items; for nats a token, it is the number of tokens. Items that were
/// refused are left out.
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
/// use eft_eval::{Item, Items, PassFail, Run, Task};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// let items = Items::of([Item::new("1", [0]), Item::new("2", [1])])?;
/// let task = Task::texts(items, PassFail::new("has a b", |_, text| Ok(text.contains('b'))))?;
/// let metrics = Run::new(&task).quiet().evaluate(&model)?.metrics()?;
/// assert_eq!((&metrics[0].name[..], metrics[0].value()), ("has a b", 1.0));
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name.
    pub name: String,
    /// Whether a higher number is better.
    pub higher_is_better: bool,
    /// For each item, its parts of the two sums; `None` for one that was refused.
    parts: Vec<Option<[f64; 2]>>,
}

/// The names of the log-likelihood's metrics, and their units in nats and in tokens or bytes.
const NATS_A_TOKEN: &str = "nats a token";
const BITS_A_BYTE: &str = "bits a byte";

impl Results {
    /// Returns the metrics of the run. The first is the main one.
    ///
    /// Texts have one: the mean of their scores. Choices have the share of items whose likeliest choice is the right
    /// one, under each of the three [norms](LengthNorm), the task's own first. Texts that were given have nats a token
    /// and bits a byte.
    ///
    /// # Errors
    /// [`Error::Results`] if the run has no items, or outputs of several kinds.
    pub fn metrics(&self) -> Result<Vec<Metric>> {
        let fault = |reason: &str| Error::Results { run: self.header.formula.clone(), reason: reason.into() };
        let scored = |item: &&ItemResult| !matches!(item.output, Output::Refused { .. });
        let first =
            self.items.iter().find(scored).ok_or_else(|| fault("have no item that was not refused"))?;
        let metric = |name: &str, higher_is_better: bool, parts: &dyn Fn(&Output) -> Option<[f64; 2]>| {
            let one = |item: &ItemResult| match &item.output {
                Output::Refused { .. } => Ok(None),
                output => parts(output).map(Some).ok_or_else(|| fault("have outputs of several kinds")),
            };
            let parts = self.items.iter().map(one).collect::<Result<_>>()?;
            Ok(Metric { name: name.into(), higher_is_better, parts })
        };
        match &first.output {
            Output::Text { .. } | Output::Refused { .. } => {
                let name = self.header.task["kind"].as_str().unwrap_or("score");
                Ok(vec![metric(name, true, &|output| match output {
                    Output::Text { score, .. } => Some([*score, 1.0]),
                    _ => None,
                })?])
            }
            Output::Choices { .. } => {
                let norm =
                    serde_json::from_value(self.header.task["settings"]["norm"].clone()).unwrap_or_default();
                let mut norms = vec![LengthNorm::None, LengthNorm::Token, LengthNorm::Byte];
                norms.sort_by_key(|other| *other != norm);
                let of_norm = |norm: LengthNorm| {
                    metric(accuracy(norm), true, &|output| match output {
                        Output::Choices { label, choices } => {
                            Some([if likeliest(choices, norm) == Some(*label) { 1.0 } else { 0.0 }, 1.0])
                        }
                        _ => None,
                    })
                };
                norms.into_iter().map(of_norm).collect()
            }
            Output::Likelihood { .. } => Ok(vec![
                metric(NATS_A_TOKEN, false, &|output| match output {
                    Output::Likelihood { nats, tokens, .. } => Some([*nats, *tokens as f64]),
                    _ => None,
                })?,
                metric(BITS_A_BYTE, false, &|output| match output {
                    Output::Likelihood { nats, bytes, .. } => {
                        Some([nats / std::f64::consts::LN_2, *bytes as f64])
                    }
                    _ => None,
                })?,
            ]),
        }
    }

    /// Returns the clusters of the items: those with the same value in a field.
    ///
    /// # Errors
    /// [`Error::Results`] if an item does not have the field.
    pub fn clusters(&self, field: &str) -> Result<Clusters> {
        let key = |item: &ItemResult| match item.fields.get(field) {
            Some(value) => Ok(value.to_string()),
            None => Err(Error::Results {
                run: self.header.formula.clone(),
                reason: format!("cannot be grouped: the item `{}` has no field `{field}`", item.item),
            }),
        };
        Ok(Clusters::by(self.items.iter().map(key).collect::<Result<Vec<_>>>()?))
    }

    /// Puts the items into the order of those of another run. `None` if they are not the same.
    pub(super) fn in_order_of(&self, other: &Self) -> Option<Self> {
        let place: HashMap<_, _> = self.items.iter().map(|item| (&item.item, item)).collect();
        let items = other.items.iter().map(|item| place.get(&item.item).map(|item| (*item).clone()));
        let items = items.collect::<Option<Vec<_>>>()?;
        (items.len() == self.items.len()).then(|| Self { header: self.header.clone(), items })
    }
}

fn accuracy(norm: LengthNorm) -> &'static str {
    match norm {
        LengthNorm::None => "accuracy",
        LengthNorm::Token => "accuracy, per token",
        LengthNorm::Byte => "accuracy, per byte",
    }
}

/// The index of the choice with the highest log-likelihood, the first of several.
fn likeliest(choices: &[ChoiceScore], norm: LengthNorm) -> Option<usize> {
    let score = |choice: &ChoiceScore| {
        let length = match norm {
            LengthNorm::None => 1,
            LengthNorm::Token => choice.tokens,
            LengthNorm::Byte => choice.bytes,
        };
        choice.log_likelihood / length.max(1) as f64
    };
    let scores = choices.iter().map(score).enumerate();
    scores.reduce(|best, other| if other.1 > best.1 { other } else { best }).map(|(index, _)| index)
}

impl Metric {
    /// Returns the number over all items; NaN if the second sum is 0.
    #[must_use]
    pub fn value(&self) -> f64 {
        ratio(self.parts.iter().flatten().fold([0.0; 2], add))
    }

    /// Returns the number of items that were not refused.
    #[must_use]
    pub fn scored(&self) -> usize {
        self.parts.iter().flatten().count()
    }

    /// Whether every item is right or wrong, so that the number is a share.
    pub(super) fn is_share(&self) -> bool {
        self.parts.iter().flatten().all(|parts| parts[1] == 1.0 && [0.0, 1.0].contains(&parts[0]))
    }

    /// The number of each item by itself; `None` for one that was refused or has no number.
    pub(super) fn of_items(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        self.parts.iter().map(|parts| parts.map(ratio).filter(|value| value.is_finite()))
    }

    /// Returns the bootstrap interval over clusters of items; `None` if there are fewer than two clusters, or the
    /// number is not finite.
    ///
    /// # Errors
    /// A [`StatsError`] if a setting of the bootstrap is out of its range, or if there is not a cluster for each item.
    pub fn interval(
        &self,
        bootstrap: &Bootstrap,
        clusters: &Clusters,
    ) -> Result<Option<Interval>, StatsError> {
        let totals = self.totals(clusters)?;
        interval(bootstrap, self.value(), totals.len(), |drawn| of_drawn(&totals, drawn))
    }

    /// Returns by how much the number is above that of another metric on the same items, with the bootstrap interval of
    /// the difference. Items that either run refused are left out.
    ///
    /// # Errors
    /// The errors of [`interval`](Self::interval), for either metric.
    pub fn difference(
        &self,
        other: &Self,
        bootstrap: &Bootstrap,
        clusters: &Clusters,
    ) -> Result<(f64, Option<Interval>), StatsError> {
        let (a, b) = self.shared(other);
        let (value, totals) = (a.value() - b.value(), (a.totals(clusters)?, b.totals(clusters)?));
        let difference = |drawn: &[usize]| of_drawn(&totals.0, drawn) - of_drawn(&totals.1, drawn);
        Ok((value, interval(bootstrap, value, totals.0.len(), difference)?))
    }

    /// Both metrics over the items that both have.
    pub(super) fn shared(&self, other: &Self) -> (Self, Self) {
        let keep = |metric: &Self, beside: &Self| {
            let parts = metric.parts.iter().zip(&beside.parts).map(|(a, b)| b.and(*a)).collect();
            Self { parts, ..metric.clone() }
        };
        (keep(self, other), keep(other, self))
    }

    /// The sums of the items of each cluster that has any.
    fn totals(&self, clusters: &Clusters) -> Result<Vec<[f64; 2]>, StatsError> {
        if clusters.items() != self.parts.len() {
            let (expected, got) = (self.parts.len(), clusters.items());
            return Err(StatsError::Lengths { what: "items of the clusters", expected, got });
        }
        let mut totals = vec![None; clusters.len()];
        for (cluster, parts) in clusters.of_items().iter().zip(&self.parts) {
            if let Some(parts) = parts {
                totals[*cluster] = Some(add(totals[*cluster].unwrap_or_default(), parts));
            }
        }
        Ok(totals.into_iter().flatten().collect())
    }
}

fn add(sum: [f64; 2], parts: &[f64; 2]) -> [f64; 2] {
    [sum[0] + parts[0], sum[1] + parts[1]]
}

fn ratio([numerator, denominator]: [f64; 2]) -> f64 {
    numerator / denominator
}

fn of_drawn(totals: &[[f64; 2]], drawn: &[usize]) -> f64 {
    ratio(drawn.iter().map(|cluster| &totals[*cluster]).fold([0.0; 2], add))
}

fn interval(
    bootstrap: &Bootstrap,
    value: f64,
    clusters: usize,
    of_drawn: impl Fn(&[usize]) -> f64,
) -> Result<Option<Interval>, StatsError> {
    bootstrap.validate()?;
    if clusters < 2 || !value.is_finite() {
        return Ok(None);
    }
    let resampled = bootstrap.interval("metric", clusters, |drawn| Some(of_drawn(drawn)))?;
    Ok(Some(resampled.interval))
}
