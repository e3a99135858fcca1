use super::Report;
use super::metric::Metric;
use crate::run::{Output, Results};
use crate::stats::{Clusters, Interval, StatsError, sign_test};
use crate::{Error, Result};

/// What a run of a report shows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The name of the run.
    pub name: String,
    /// The source, as it prints itself.
    pub formula: String,
    /// The metrics of the task, the main one first.
    pub metrics: Vec<MetricSummary>,
    /// The number of items.
    pub items: usize,
    /// The number of items that the models refused. They have no score.
    pub refused: usize,
}

/// A metric of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MetricSummary {
    /// The metric's name.
    pub name: String,
    /// Whether a higher number is better.
    pub higher_is_better: bool,
    /// Whether the number is a share of items that are right.
    pub is_share: bool,
    /// The number over all items.
    pub value: f64,
    /// Its interval; `None` if there are fewer than two items.
    pub interval: Option<Interval>,
    /// The comparison with the base; `None` for the base itself.
    pub difference: Option<Difference>,
}

/// The paired comparison of a run with the base.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// By how much the number is above the base's, over the items that both have.
    pub value: f64,
    /// Its interval; `None` if there are fewer than two items.
    pub interval: Option<Interval>,
    /// The number of items on which the run's number is higher.
    pub higher: usize,
    /// The number of items on which the base's number is higher.
    pub lower: usize,
    /// The p-value of the exact two-sided sign test; `None` if items are grouped into clusters.
    pub p_value: Option<f64>,
}

impl Report {
    /// Returns what each run shows.
    ///
    /// # Errors
    /// [`Error::Results`] if there are no runs, if runs do not have the same items and metrics, if an item does not
    /// have the field of the clusters, or if no statistics can be computed.
    pub fn summaries(&self) -> Result<Vec<Summary>> {
        let Some(first) = self.runs.first() else {
            return Err(Error::Results { run: self.title.clone(), reason: "have no runs".into() });
        };
        let base = &first.results;
        let clusters = match &self.cluster {
            None => Clusters::each(base.items.len()),
            Some(field) => base.clusters(field)?,
        };
        let of_base = base.metrics()?;
        let mut summaries = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            let fault = |reason: String| Error::Results { run: run.name.clone(), reason };
            let other = format!("are not about the same items as those of `{}`", first.name);
            let results = run.results.in_order_of(base).ok_or_else(|| fault(other))?;
            let metrics = results.metrics()?;
            if metrics.iter().map(|m| &m.name).ne(of_base.iter().map(|m| &m.name)) {
                return Err(fault(format!("have other metrics than those of `{}`", first.name)));
            }
            let summary = |(metric, base): (&Metric, &Metric)| {
                let base = (index > 0).then_some(base);
                self.metric(metric, base, &clusters)
                    .map_err(|error| fault(format!("have no interval: {error}")))
            };
            summaries.push(Summary {
                name: run.name.clone(),
                formula: results.header.formula.clone(),
                metrics: metrics.iter().zip(&of_base).map(summary).collect::<Result<_>>()?,
                items: results.items.len(),
                refused: refused(&results),
            });
        }
        Ok(summaries)
    }

    fn metric(
        &self,
        metric: &Metric,
        base: Option<&Metric>,
        clusters: &Clusters,
    ) -> Result<MetricSummary, StatsError> {
        Ok(MetricSummary {
            name: metric.name.clone(),
            higher_is_better: metric.higher_is_better,
            is_share: metric.is_share(),
            value: metric.value(),
            interval: metric.interval(&self.bootstrap, clusters)?,
            difference: base.map(|base| self.difference(metric, base, clusters)).transpose()?,
        })
    }

    fn difference(
        &self,
        metric: &Metric,
        base: &Metric,
        clusters: &Clusters,
    ) -> Result<Difference, StatsError> {
        let (value, interval) = metric.difference(base, &self.bootstrap, clusters)?;
        let (a, b): (Vec<_>, Vec<_>) =
            metric.of_items().zip(base.of_items()).filter_map(|(a, b)| a.zip(b)).unzip();
        let test = sign_test(&a, &b)?;
        let p_value = self.cluster.is_none().then_some(test.p_value);
        Ok(Difference { value, interval, higher: test.wins, lower: test.losses, p_value })
    }
}

fn refused(results: &Results) -> usize {
    results.items.iter().filter(|item| matches!(item.output, Output::Refused { .. })).count()
}
