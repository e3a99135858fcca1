//! What an experiment shows: a table, a plot, and words.
use std::fmt;

use eft_eval::stats::{Estimate, Interval};

use crate::chart::Chart;

/// A table with what belongs to it.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// The paper, and the figure that it reports.
    pub(crate) paper: &'static str,
    pub(crate) headings: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) chart: Option<Chart>,
    /// What the table shows, and what it does not show.
    pub(crate) findings: Vec<String>,
    /// Times, which differ from run to run.
    pub(crate) times: Option<String>,
}

impl Section {
    pub(crate) fn new(
        title: &'static str,
        paper: &'static str,
        headings: impl Into<Vec<&'static str>>,
    ) -> Self {
        let headings = headings.into();
        Self { title, paper, headings, rows: Vec::new(), chart: None, findings: Vec::new(), times: None }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    pub(crate) fn finding(&mut self, sentence: impl Into<String>) {
        self.findings.push(sentence.into());
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n   {}\n", self.title, self.paper)?;
        let headings: Vec<_> = self.headings.iter().map(ToString::to_string).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let width = |text: &str| text.chars().count();
        let widths = (0..headings.len()).map(|column| {
            lines().filter_map(|line| line.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
        });
        let widths: Vec<_> = widths.collect();
        for line in lines() {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide.saturating_sub(width(cell)))));
            writeln!(f, "   {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        writeln!(f)?;
        self.findings.iter().chain(&self.times).try_for_each(|sentence| writeln!(f, "   {sentence}"))
    }
}

/// A share with its interval, in per cent.
pub(crate) fn percent(value: f64, Interval { low, high }: Interval) -> String {
    let (value, low, high) = (100.0 * value, 100.0 * low, 100.0 * high);
    format!("{value:.1} % [{low:.1}, {high:.1}]")
}

/// A mean share with its interval, in per cent.
pub(crate) fn share(estimate: &Estimate) -> String {
    percent(estimate.value, estimate.interval)
}

/// A mean with its interval.
pub(crate) fn number(estimate: &Estimate) -> String {
    let Interval { low, high } = estimate.interval;
    format!("{:.2} [{low:.2}, {high:.2}]", estimate.value)
}
