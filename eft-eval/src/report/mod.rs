//! Reports: what the runs of a task show, as a table for the terminal and as a page of HTML.
//!
//! ```
//! use eft_core::{from_fn, Host, Vocab};
//! use eft_eval::{ExactMatch, Item, Items, Report, Run, Task};
//!
//! let vocab = Vocab::new("words", ["yes", "no", "</s>"])?.with_eos([2])?;
//! let model = |first: [f32; 3]| {
//!     from_fn(Host, vocab.clone(), move |ids| Ok(if ids.len() == 1 { first.to_vec() } else { vec![0., 0., 9.] }))
//! };
//! let items = (0..8).map(|n| Item::new(n.to_string(), [n % 2]).reference("yes"));
//! let task = Task::texts(Items::of(items)?, ExactMatch::default())?;
//! let run = Run::new(&task).quiet();
//! let report = Report::new("Yes or no")
//!     .run("base", run.evaluate(&model([0., 1., 0.]))?)
//!     .run("tuned", run.evaluate(&model([1., 0., 0.]))?);
//! assert_eq!(report.summaries()?[1].metrics[0].difference.as_ref().map(|d| d.value), Some(1.0));
//! println!("{}", report.table()?);
//! # Ok::<(), eft_eval::Error>(())
//! ```
mod html;
mod metric;
mod plot;
mod summary;
mod sweep;
mod table;

pub use metric::Metric;
pub use summary::{Difference, MetricSummary, Summary};

use crate::run::Results;
use crate::stats::Bootstrap;

/// The runs of one task, side by side. See the [module](self).
///
/// The first run is the base that the others are compared with, on the same items. Intervals are percentile intervals
/// of a bootstrap over the items, or over [clusters](Self::cluster_by) of them.
#[derive(Debug, Clone)]
#[must_use]
pub struct Report {
    title: String,
    runs: Vec<NamedRun>,
    bootstrap: Bootstrap,
    cluster: Option<String>,
    notes: Vec<String>,
}

/// A run of a report.
#[derive(Debug, Clone)]
struct NamedRun {
    name: String,
    /// The value of the setting that is varied, for a run of a sweep.
    setting: Option<f64>,
    results: Results,
}

impl Report {
    /// Creates a report without runs.
    pub fn new(title: impl Into<String>) -> Self {
        let (title, bootstrap) = (title.into(), Bootstrap::default());
        Self { title, runs: Vec::new(), bootstrap, cluster: None, notes: Vec::new() }
    }

    /// Adds a run.
    pub fn run(mut self, name: impl Into<String>, results: Results) -> Self {
        self.runs.push(NamedRun { name: name.into(), setting: None, results });
        self
    }

    /// Adds a run of a sweep, which the page plots against its setting.
    ///
    /// ```no_run
    /// use eft_eval::{Report, Results};
    ///
    /// let mut report = Report::new("Capitals").run("base", Results::read("base.jsonl")?);
    /// for alpha in [0.5, 1.0, 1.5] {
    ///     report = report.run_at(format!("α = {alpha}"), alpha, Results::read(format!("{alpha}.jsonl"))?);
    /// }
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    pub fn run_at(mut self, name: impl Into<String>, setting: f64, results: Results) -> Self {
        self.runs.push(NamedRun { name: name.into(), setting: Some(setting), results });
        self
    }

    /// Resamples clusters of items instead of items: those that have the same value in a field. Use it if the items are
    /// not independent, such as several questions about one person. The sign test, which needs independent items, is
    /// left out.
    pub fn cluster_by(mut self, field: impl Into<String>) -> Self {
        self.cluster = Some(field.into());
        self
    }

    /// Sets how intervals are computed: by default 10,000 resamples with seed 0 give intervals of 95 %.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Adds a sentence, which the page shows above its table.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}
