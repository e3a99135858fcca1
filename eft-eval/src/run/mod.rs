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
//! With [`Run::file`], results are kept in a file of JSON Lines. Its first line is the [`Header`], which holds all that
//! is needed to repeat the run; each other line is an [`ItemResult`]. Results are appended batch by batch, and when all
//! are there, they are put into the order of the items. If the run is killed, running it again goes on with the first
//! batch that is not complete. The finished file is the same, byte for byte, as that of a run that was not interrupted,
//! as far as the models compute the same numbers for the same batch. So the size of the batches belongs to the header.
//! A run whose header differs from that of an existing file is refused.
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
    folder: Option<PathBuf>,
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
            folder: None,
            models: BTreeMap::new(),
            notes: BTreeMap::new(),
            versions: BTreeMap::new(),
            quiet: false,
        }
    }

    /// Sets how texts are generated. Tasks that generate none ignore it.
    ///
    /// The text of an item depends on the seed and on the item's id, not on the other items. The header records
    /// everything but [processors](eft_core::sample::Processor) and [truncations](eft_core::sample::Truncation), which are
    /// functions: it holds their numbers, so [`note`](Self::note) what they do.
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

    /// Keeps the results of [`evaluate_each`](Self::evaluate_each) in a folder: a file for each source, with its name.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
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
    /// An item that the models refuse, because it does not fit into their context for example, does not end the run:
    /// its output is [`Output::Refused`].
    ///
    /// # Errors
    /// * [`Error::Core`] if the models of the source do not fit together, or a setting is out of its range.
    /// * [`Error::Models`] if the models fail.
    /// * [`Error::Grader`] or another error of the grader.
    /// * [`Error::OtherRun`] if the file holds the results of a run with other settings, [`Error::Busy`] if another
    ///   process is writing it, [`Error::Line`] if it was damaged, and [`Error::File`] if it cannot be read or written.
    pub fn evaluate<B: Backend>(&self, source: &Source<B>) -> Result<Results> {
        let mut results = self.run(&[source], std::slice::from_ref(&self.file))?;
        Ok(results.swap_remove(0))
    }

    /// Runs the task with several sources, each with its name, and returns the results of each.
    ///
    /// Combinations of the same models share passes, so that the values of a sweep cost little more than one of them:
    /// see [`eft_core::decode::joint`]. The results are those of [`evaluate`](Self::evaluate) for each source, as far
    /// as the models compute the same numbers for batches of other sizes. Sources whose file in the
    /// [folder](Self::folder) is finished do not run again, so values can be added to a sweep.
    ///
    /// ```
    /// use eft_core::combine::delta;
    /// use eft_core::{from_fn, Host, Vocab};
    /// use eft_eval::{Item, Items, PassFail, Run, Task};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b", "</s>"])?.with_eos([2])?;
    /// let model = |logits: [f32; 3]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
    /// let (large, tuned, small) = (model([1., 0., 0.]), model([0., 0., 3.]), model([0., 0., 0.]));
    /// let task = Task::texts(Items::of([Item::new("1", [0])])?, PassFail::new("empty", |_, text| Ok(text.is_empty())))?;
    /// let swept = [0.0, 1.0].map(|alpha| (format!("alpha-{alpha}"), delta(&large, &tuned, &small, alpha)));
    /// let swept = swept.into_iter().map(|(name, source)| Ok((name, source?))).collect::<eft_core::Result<Vec<_>>>()?;
    /// let results = Run::new(&task).quiet().evaluate_each(&swept)?;
    /// assert_eq!(results[1].metrics()?[0].value(), 1.0);
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// * The errors of [`evaluate`](Self::evaluate), for any source.
    /// * [`Error::Setting`] if two sources have the same name, or a name cannot be that of a file in the folder.
    pub fn evaluate_each<N: AsRef<str>, B: Backend>(
        &self,
        sources: &[(N, Source<B>)],
    ) -> Result<Vec<Results>> {
        let names: Vec<_> = sources.iter().map(|(name, _)| name.as_ref()).collect();
        let mut files = vec![None; names.len()];
        if let Some(folder) = &self.folder {
            std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
            for (index, name) in names.iter().enumerate() {
                if names[..index].contains(name) {
                    return Err(Error::setting("name", name, "another one for each source"));
                }
                if name.is_empty() || name.contains(['/', '\\']) {
                    return Err(Error::setting("name", name, "the name of a file"));
                }
                files[index] = Some(folder.join(format!("{name}.jsonl")));
            }
        }
        self.run(&sources.iter().map(|(_, source)| source).collect::<Vec<_>>(), &files)
    }

    /// Runs the task with several sources, each with a file or without.
    fn run<B: Backend>(&self, sources: &[&Source<B>], files: &[Option<PathBuf>]) -> Result<Vec<Results>> {
        if self.batch == 0 {
            return Err(Error::setting("batch", 0, "at least 1"));
        }
        self.decoding.validate()?;
        let batches = self.batches();
        let (mut stores, mut progress) = (Vec::new(), ProgressBar::hidden());
        for (source, file) in sources.iter().zip(files) {
            source.check()?;
            let header = Header::of(self, source);
            stores.push(Store::open(file.as_deref(), header, self.task.items(), &batches)?);
        }
        // The others run together, also those that have more batches than others: so a run that was killed computes
        // the same batches as before.
        let running: Vec<_> = (0..stores.len()).filter(|index| !stores[*index].is_finished()).collect();
        if let Some(first) = running.first() {
            let others =
                if running.len() > 1 { format!(" and {} more", running.len() - 1) } else { String::new() };
            progress = self.progress(format!("{}{others}", sources[*first]));
        }
        let sources: Vec<_> = running.iter().map(|index| sources[*index]).collect();
        for batch in &batches {
            if !running.iter().all(|index| stores[*index].has(batch)) {
                let items: Vec<_> = batch.iter().map(|index| &self.task.items()[*index]).collect();
                for (index, outputs) in running.iter().zip(self.outputs(&sources, &items)?) {
                    let store = &mut stores[*index];
                    if !store.has(batch) {
                        store.append(batch, outputs)?;
                    }
                }
            }
            progress.inc(batch.len() as u64);
        }
        progress.finish_and_clear();
        stores.into_iter().map(Store::finish).collect()
    }

    /// The indices of the items of each batch: the largest items first, and each batch of items of similar size.
    fn batches(&self) -> Vec<Vec<usize>> {
        let items = self.task.items();
        let mut order: Vec<_> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(items[*index].size()));
        order.chunks(self.batch).map(<[usize]>::to_vec).collect()
    }

    /// The outputs of each source.
    fn outputs<B: Backend>(&self, sources: &[&Source<B>], items: &[&Item]) -> Result<Vec<Vec<Output>>> {
        let each = |of: &dyn Fn(&Source<B>) -> Result<Vec<Output>>| {
            sources.iter().map(|source| of(source)).collect()
        };
        match self.task.kind() {
            Kind::Texts(grader) => texts::outputs(sources, items, &**grader, &self.decoding, &self.until),
            Kind::Choices(choices) => each(&|source| likelihood::of_choices(source, items, choices)),
            Kind::Likelihood => each(&|source| likelihood::of_texts(source, items)),
        }
    }

    fn progress(&self, name: String) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(self.task.items().len() as u64).with_message(name);
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

/// Runs a function on a batch of items. If the batch fails by the fault of a single item, each item runs alone, and
/// those at fault are refused.
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
        Error::Models { what, source: Box::new(source) }
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
