//! The page.
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::plot::{Point, plot};
use super::summary::Summary;
use super::table::Cells;
use super::{NamedRun, Report};
use crate::run::{ItemResult, Output};
use crate::{Error, Result};

/// The most items whose texts are shown.
const SHOWN: usize = 12;

#[derive(Serialize)]
struct Page {
    title: String,
    notes: Vec<String>,
    method: String,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    plots: Vec<Plot>,
    items: Vec<Shown>,
    runs: Vec<Details>,
}

#[derive(Serialize)]
struct Plot {
    name: String,
    svg: String,
}

/// An item on which runs differ.
#[derive(Serialize)]
struct Shown {
    name: String,
    texts: Vec<ShownText>,
}

#[derive(Serialize)]
struct ShownText {
    run: String,
    text: String,
    score: String,
}

/// What was run.
#[derive(Serialize)]
struct Details {
    name: String,
    formula: String,
    header: String,
}

impl Report {
    /// Returns a page of HTML: the table, a plot of each metric, some of the items on which the runs differ, and what
    /// is needed to repeat each run. The page needs no other file and asks no other host for anything. It is light or
    /// dark as the reader's system is.
    ///
    /// # Errors
    /// * The errors of [`summaries`](Self::summaries).
    /// * [`Error::Report`] if a plot or the page cannot be made.
    pub fn html(&self) -> Result<String> {
        let summaries = self.summaries()?;
        let Cells { headings, rows } = self.cells(&summaries);
        let unit = self
            .cluster
            .as_ref()
            .map_or_else(|| "items".into(), |field| format!("groups of items with equal `{field}`"));
        let method = format!(
            "Square brackets hold {:.0} % percentile intervals of a bootstrap over {unit} ({} resamples).",
            100.0 * self.bootstrap.level,
            self.bootstrap.resamples,
        );
        let page = Page {
            title: self.title.clone(),
            notes: self.notes.clone(),
            method,
            headings,
            rows,
            plots: self.plots(&summaries)?,
            items: self.shown(),
            runs: self.runs.iter().map(details).collect::<Result<_>>()?,
        };
        let failed = |error: minijinja::Error| Error::Report { what: "page", source: error.into() };
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.render_str(include_str!("page.html"), Serde(page)).map_err(failed)
    }

    fn plots(&self, summaries: &[Summary]) -> Result<Vec<Plot>> {
        let metrics = summaries.first().map_or(&[][..], |summary| &summary.metrics);
        let mut plots = Vec::new();
        for (index, metric) in metrics.iter().enumerate() {
            let point = |(run, summary): (&'_ NamedRun, &'_ Summary)| (run.setting, summary.name.clone());
            let named: Vec<_> = self.runs.iter().zip(summaries).map(point).collect();
            let points: Vec<_> = named
                .iter()
                .zip(summaries)
                .map(|((setting, name), summary)| Point {
                    name,
                    setting: *setting,
                    metric: &summary.metrics[index],
                })
                .collect();
            let svg = plot(&points).map_err(|source| Error::Report { what: "plot", source })?;
            plots.extend(svg.map(|svg| Plot { name: metric.name.clone(), svg }));
        }
        Ok(plots)
    }

    /// The first items on which the texts of the runs have different scores.
    fn shown(&self) -> Vec<Shown> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let runs: Vec<_> = self
            .runs
            .iter()
            .filter_map(|run| Some((run, run.results.in_order_of(&first.results)?)))
            .collect();
        let of_item = |index: usize| {
            let texts: Vec<_> = runs
                .iter()
                .filter_map(|(run, results)| match &results.items[index].output {
                    Output::Text { text, score, .. } => Some((&run.name, text, *score)),
                    _ => None,
                })
                .collect();
            let differ = texts.iter().any(|text| text.2 != texts[0].2);
            differ.then(|| Shown {
                name: name(&first.results.items[index]),
                texts: texts
                    .into_iter()
                    .map(|(run, text, score)| ShownText {
                        run: run.clone(),
                        text: text.clone(),
                        score: format!("{score:.3}").trim_end_matches('0').trim_end_matches('.').into(),
                    })
                    .collect(),
            })
        };
        (0..first.results.items.len()).filter_map(of_item).take(SHOWN).collect()
    }
}

/// The question of an item, if its file had one beside the prompt, else its id.
fn name(item: &ItemResult) -> String {
    item.fields.get("question").and_then(|q| q.as_str()).unwrap_or(&item.item).into()
}

fn details(run: &NamedRun) -> Result<Details> {
    let failed = |error: serde_json::Error| Error::Report { what: "page", source: error.into() };
    let header = &run.results.header;
    let text = serde_json::to_string_pretty(header).map_err(failed)?;
    Ok(Details { name: run.name.clone(), formula: header.formula.clone(), header: text })
}
