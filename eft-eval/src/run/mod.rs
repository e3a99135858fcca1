//! Running a task with a source: in batches, with progress, and so that a killed run can go on.
//!
//! ```
//! use eft_core::{from_fn, Host, Vocab};
//! use eft_eval::{ExactMatch, Item, Items, Run, Task};
//!
//! let vocab = Vocab::new("words", ["one", " plus", " is", " two", "</s>"])?.with_eos([4])?;
//! // A model that says " two" and ends the text.
//! let model = from_fn(Host, vocab, |ids| {
//!     Ok(if ids.last() == Some(&3) { vec![0., 0., 0., 0., 9.] } else { vec![0., 0., 0., 9., 0.] })
//! });
//! let task = Task::texts(Items::of([Item::new("1", [0, 1, 0, 2]).reference("two")])?, ExactMatch::default())?;
//! let results = Run::new(&task).quiet().evaluate(&model)?;
//! assert_eq!(results.items.len(), 1);
//! # Ok::<(), eft_eval::Error>(())
//! ```
//!
//! # Files of results
//! With [`Run::file`], results are kept in a file of JSON Lines. Its first line is the [`Header`], which holds all that is
//! needed to repeat the run; each other line is an [`ItemResult`]. Results are appended batch by batch, and when all are
//! there, they are put into the order of the items. If the run is killed, running it again goes on with the first batch that is
//! not complete. The finished file is the same, byte for byte, as that of a run that was not interrupted, as far as the
//! models compute the same numbers for the same batch. So the size of the batches belongs to the header. A run whose header
//! differs from that of an existing file is refused.
mod header;
mod likelihood;
mod result;
mod store;
mod texts;

pub use header::Header;
pub use result::{ChoiceScore, ItemResult, Output, Results};

use std::collections::BTreeMap;
use std::path::PathBuf;

use eft_core::{Backend, Decoding, Sampling, Source};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::task::{Item, Kind, Task};
use crate::{Error, Result};
use store::Store;

/// The settings of a run of a task. See the [module](self).
///
/// By default texts are decoded greedily and have at most 256 tokens, batches have 64 items, results are kept in memory
/// only, and a bar on the terminal shows the progress.
///
/// ```
/// use eft_core::Sampling;
/// use eft_eval::{ExactMatch, Item, Items, Run, Task};
///
/// let task = Task::texts(Items::of([Item::new("1", "One and one is").reference("two")])?, ExactMatch::default())?;
/// let run = Run::new(&task)
///     .decoding(Sampling::default().temperature(0.7).seed(3))
///     .until("\n")
///     .file("results.jsonl");
/// # let _ = run;
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a run does nothing until `evaluate` is called"]
pub struct Run<'t> {
    task: &'t Task,
    decoding: Decoding,
    until: Vec<String>,
    batch: usize,
    file: Option<PathBuf>,
    models: BTreeMap<String, String>,
    notes: BTreeMap<String, Value>,
    versions: BTreeMap<String, String>,
    quiet: bool,
}

impl<'t> Run<'t> {
    /// Creates a run with the default settings.
    pub fn new(task: &'t Task) -> Self {
        Self {
            task,
            decoding: Sampling::greedy().into(),
            until: Vec::new(),
            batch: 64,
            file: None,
            models: BTreeMap::new(),
            notes: BTreeMap::new(),
            versions: BTreeMap::new(),
            quiet: false,
        }
    }

    /// Sets how texts are generated. Tasks that generate none ignore it.
    ///
    /// The text of an item depends on the seed and on the item's id, not on the other items. The header records everything
    /// but [processors](eft_core::sample::Processor), which are functions: it holds their number, so [`note`](Self::note)
    /// what they do.
    pub fn decoding(mut self, decoding: impl Into<Decoding>) -> Self {
        self.decoding = decoding.into();
        self
    }

    /// Also ends texts before this string.
    pub fn until(mut self, stop: impl Into<String>) -> Self {
        self.until.push(stop.into());
        self
    }

    /// Sets how many items run at once. More are faster and need more memory.
    pub fn batch(mut self, items: usize) -> Self {
        self.batch = items;
        self
    }

    /// Keeps the results in a file, and goes on where an interrupted run of the same settings has stopped.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Records what a model of the formula is: its [`content_hash`](crate::content_hash), or whatever identifies it.
    pub fn model(mut self, name: impl Into<String>, hash: impl Into<String>) -> Self {
        self.models.insert(name.into(), hash.into());
        self
    }

    /// Records anything else that is needed to repeat the run.
    pub fn note(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.notes.insert(name.into(), value.into());
        self
    }

    /// Records the version of another crate that the results depend on, such as the one that runs the models.
    pub fn version(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.versions.insert(name.into(), version.into());
        self
    }

    /// Shows no progress. Without a terminal none is shown anyway.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Runs the task with a source, and returns the results in the order of the items.
    ///
    /// An item that the models refuse, because it does not fit into their context for example, does not end the run: its
    /// output is [`Output::Refused`].
    ///
    /// # Errors
    /// * [`Error::Core`] if the models of the source do not fit together, or a setting is out of its range.
    /// * [`Error::Models`] if the models fail.
    /// * [`Error::Grader`] or another error of the grader.
    /// * [`Error::OtherRun`] if the file holds the results of a run with other settings, [`Error::Busy`] if another process
    ///   is writing it, [`Error::Line`] if it was damaged, and [`Error::File`] if it cannot be read or written.
    pub fn evaluate<B: Backend>(&self, source: &Source<B>) -> Result<Results> {
        if self.batch == 0 {
            return Err(Error::setting("batch", 0, "at least 1"));
        }
        source.check()?;
        self.decoding.validate()?;
        let header = Header::of(self, source);
        let batches = self.batches();
        let mut store = Store::open(self.file.as_deref(), header, self.task.items(), &batches)?;
        let progress = self.progress(&source.name());
        for batch in &batches {
            if !store.has(batch) {
                let items: Vec<_> = batch.iter().map(|index| &self.task.items()[*index]).collect();
                store.append(batch, self.outputs(source, &items)?)?;
            }
            progress.inc(batch.len() as u64);
        }
        progress.finish_and_clear();
        store.finish()
    }

    /// The indices of the items of each batch: the largest items first, and each batch of items of similar size.
    fn batches(&self) -> Vec<Vec<usize>> {
        let items = self.task.items();
        let mut order: Vec<_> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(items[*index].size()));
        order.chunks(self.batch).map(<[usize]>::to_vec).collect()
    }

    fn outputs<B: Backend>(&self, source: &Source<B>, items: &[&Item]) -> Result<Vec<Output>> {
        match self.task.kind() {
            Kind::Texts(grader) => texts::outputs(source, items, &**grader, &self.decoding, &self.until),
            Kind::Choices(choices) => likelihood::of_choices(source, items, choices),
            Kind::Likelihood => likelihood::of_texts(source, items),
        }
    }

    fn progress(&self, name: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(self.task.items().len() as u64).with_message(name.to_owned());
        let template = "{msg}  {wide_bar} {pos}/{len}  {eta}";
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// Whether an error is the fault of a single item, which is then refused, and not of the models.
fn is_of_item(error: &eft_core::Error) -> bool {
    use eft_core::Error::{ContextFull, EmptyPrompt, TokenOutOfRange};
    matches!(error, ContextFull { .. } | EmptyPrompt { .. } | TokenOutOfRange { .. })
}

/// Runs a function on a batch of items. If the batch fails by the fault of a single item, each item runs alone, and those at
/// fault are refused.
fn refusing<T>(
    items: &[&Item],
    run: impl Fn(&[&Item]) -> eft_core::Result<Vec<T>>,
    mut refuse: impl FnMut(String) -> T,
) -> Result<Vec<T>> {
    let failed = |items: &[&Item], source| {
        let first = items.first().map_or("", |item| &item.id);
        let what = match items.len() {
            1 => format!("item `{first}`"),
            count => format!("a batch of {count} items, the first of which is `{first}`"),
        };
        Error::Models { what, source }
    };
    match run(items) {
        Ok(outputs) => return Ok(outputs),
        Err(error) if !is_of_item(&error) => return Err(failed(items, error)),
        Err(_) => {}
    }
    let mut outputs = Vec::new();
    for item in items {
        match run(std::slice::from_ref(item)) {
            Ok(of_item) => outputs.extend(of_item),
            Err(error) if is_of_item(&error) => {
                outputs.push(refuse(eft_core::error::with_sources(&error).to_string()))
            }
            Err(error) => return Err(failed(&[item], error)),
        }
    }
    Ok(outputs)
}
