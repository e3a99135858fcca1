//! Numbers as text, and the table for the terminal.
use super::Report;
use super::summary::{MetricSummary, Summary};
use crate::Result;
use crate::stats::Interval;

/// The cells of a table: a row for each run, under a row of headings.
pub(super) struct Cells {
    pub(super) headings: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Report {
    /// Returns a table for the terminal: for each run its metrics with their intervals, and the comparison of the main
    /// one with the base.
    ///
    /// # Errors
    /// The errors of [`summaries`](Self::summaries).
    pub fn table(&self) -> Result<String> {
        let Cells { headings, rows } = self.cells(&self.summaries()?);
        let lines = || std::iter::once(&headings).chain(&rows);
        let widths =
            (0..headings.len()).map(|column| lines().map(|line| width(&line[column])).max().unwrap_or(0));
        let widths: Vec<_> = widths.collect();
        let mut table = String::new();
        for line in lines() {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
            table += cells.collect::<Vec<_>>().join("  ").trim_end();
            table.push('\n');
        }
        Ok(table)
    }

    pub(super) fn cells(&self, summaries: &[Summary]) -> Cells {
        let base = self.runs.first().map_or("", |run| &run.name);
        let (compared, refused) = (summaries.len() > 1, summaries.iter().any(|s| s.refused > 0));
        let level = format!("{:.0} %", 100.0 * self.bootstrap.level);
        let metrics = summaries.first().map_or(&[][..], |summary| &summary.metrics);
        let mut headings = vec![String::new()];
        headings.extend(metrics.iter().map(|metric| format!("{} [{level}]", metric.name)));
        if compared {
            headings.push(format!("above {base} [{level}]"));
            headings.push("higher / lower".into());
        }
        let tested = compared && self.cluster.is_none();
        headings.extend(tested.then(|| "p".into()));
        headings.extend(refused.then(|| "refused".into()));
        let row = |summary: &Summary| {
            let mut row = vec![summary.name.clone()];
            row.extend(summary.metrics.iter().map(with_interval));
            let main = summary.metrics.first();
            let difference = main.and_then(|main| Some((main, main.difference.as_ref()?)));
            if compared {
                row.push(
                    difference.map_or_else(String::new, |(m, d)| difference_text(m, d.value, d.interval)),
                );
                row.push(difference.map_or_else(String::new, |(_, d)| format!("{} / {}", d.higher, d.lower)));
            }
            let p_value = || difference.and_then(|(_, d)| d.p_value).map_or_else(String::new, p_value);
            row.extend(tested.then(p_value));
            row.extend(refused.then(|| format!("{} of {}", summary.refused, summary.items)));
            row
        };
        Cells { headings, rows: summaries.iter().map(row).collect() }
    }
}

/// The number of columns that a text takes in a terminal, if none of its characters is wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn with_interval(metric: &MetricSummary) -> String {
    let number = |value| number(metric, value);
    match metric.interval {
        None => number(metric.value),
        Some(Interval { low, high }) => {
            format!("{} [{}, {}]", number(metric.value), number(low), number(high))
        }
    }
}

fn difference_text(metric: &MetricSummary, value: f64, interval: Option<Interval>) -> String {
    let signed = |value: f64| {
        let text = number(metric, value);
        if value > 0.0 { format!("+{text}") } else { text }
    };
    match interval {
        None => signed(value),
        Some(Interval { low, high }) => format!("{} [{}, {}]", signed(value), signed(low), signed(high)),
    }
}

/// A number of a metric: a share in per cent, any other number with three decimals.
pub(super) fn number(metric: &MetricSummary, value: f64) -> String {
    let text = match metric.is_share {
        true => format!("{:.1} %", 100.0 * value),
        false => format!("{value:.3}"),
    };
    text.replace('-', "−")
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}
