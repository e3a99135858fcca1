//! Does the combination help on a task, and with which α? Evaluates the base, the tuned model, and their combination
//! for several α, with intervals; prints a table, and writes the results as JSON Lines and a page of HTML.
//!
//! ```sh
//! cargo run --release --example evaluate                     # the zoo's models on short questions
//! cargo run --release --example evaluate -- --task FILE --large MODEL --small MODEL --tuned MODEL --alpha 0..2
//! cargo run --release --example evaluate -- --formula "nucleus_delta(tuned, large, small, p=0.9)" --out filtered
//! ```
#[macro_use]
#[path = "../common/exit.rs"]
mod exit;
mod args;
#[path = "../common/flags.rs"]
mod flags;
mod identity;
#[path = "../common/models.rs"]
mod models;
mod task;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use eft::{Backend, Source, combine};
use eft_eval::report::MetricSummary;
use eft_eval::{Report, Run, Task};

use args::{Alphas, Args};
use flags::Mode;
use identity::Identity;
use models::Models;

fn main() -> ExitCode {
    let mut args = Args::parse();
    // It may name a number, which the loader of the models does not know.
    let formula = args.models.formula.take();
    let evaluate = Evaluate { args: &args, formula: formula.as_deref() };
    // Models may take long to load, so a missing task is reported before.
    let checked = args.check().and_then(|()| task::files(&args));
    exit::exit(checked.and_then(|_| models::with_backend(&args.models, &evaluate)))
}

struct Evaluate<'a> {
    args: &'a Args,
    formula: Option<&'a str>,
}

impl models::Run for Evaluate<'_> {
    fn run<B: Backend>(&self, models: Models<B>) -> Result<()> {
        let Self { args, formula } = *self;
        if !matches!(args.models.mode, Mode::Up | Mode::Down) {
            bail!("α has no part in this `--mode`: evaluate `up` or `down`");
        }
        let (files, mut validation) = task::files(args)?;
        let sources = Sources::of(&models, args.alphas.as_ref(), formula)?;
        if sources.swept.is_empty() {
            if !args.validation.is_empty() {
                bail!(
                    "there is nothing to choose on `--validation` items: the formula does not name `alpha`"
                );
            }
            validation.clear();
        }
        let identity = Identity::of(&args.models)?;
        let chosen = match validation.is_empty() {
            true => None,
            false => {
                let task = task::task(args, &models, &validation)?;
                let runs =
                    Runs { args, task: &task, identity: &identity, folder: &args.out.join("validation") };
                say!("α is chosen on {} items:\n", task.items().len());
                let report = runs.report("Validation", &[], &sources.swept)?;
                say!("{}", report.table()?);
                Some(best(&report, &sources)?)
            }
        };
        let task = task::task(args, &models, &files)?;
        let runs = Runs { args, task: &task, identity: &identity, folder: &args.out.join("task") };
        say!("The task has {} items:\n", task.items().len());
        let mut report = runs.report(&title(&files), &sources.fixed, &sources.swept)?;
        say!("{}", report.table()?);
        if let Some(alpha) = chosen {
            let note = format!(
                "On the validation items, no α was better than {alpha}, the nearest to 1 of those that were as good: its \
                 line in the table is the one to report."
            );
            say!("{note}");
            report = report.note(note);
        }
        let page = args.out.join("report.html");
        std::fs::write(&page, report.html()?).with_context(|| format!("cannot write {}", page.display()))?;
        say!("{}", page.display());
        Ok(())
    }
}

fn title(files: &[std::path::PathBuf]) -> String {
    let names = files.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy());
    names.collect::<Vec<_>>().join(", ")
}

/// What is evaluated.
struct Sources<B: Backend> {
    /// The models without a weight, by name.
    fixed: Vec<(&'static str, Source<B>)>,
    /// The combination for each weight.
    swept: Vec<(f32, Source<B>)>,
}

impl<B: Backend> Sources<B> {
    fn of(models: &Models<B>, alphas: Option<&Alphas>, formula: Option<&str>) -> Result<Self> {
        let mut fixed = vec![("base", models.base.clone()), ("tuned", models.tuned.clone())];
        fixed.extend(models.reference.clone().map(|reference| ("reference", reference)));
        if let Some(text) = formula
            && let Ok(source) = models.formula(text, &[])
        {
            if alphas.is_some() {
                bail!("`--alpha` has no part in a formula that does not name `alpha`");
            }
            fixed.push(("formula", source));
            return Ok(Self { fixed, swept: Vec::new() });
        }
        let alphas = alphas.map_or(&Alphas::DEFAULT[..], |alphas| &alphas.0[..]);
        let swept = alphas.iter().map(|alpha| {
            let combined = match formula {
                Some(text) => models.formula(text, &[("alpha", *alpha), ("α", *alpha)])?,
                None => combine::delta(&models.base, &models.tuned, &models.untuned, *alpha)?,
            };
            Ok((*alpha, combined))
        });
        Ok(Self { fixed, swept: swept.collect::<Result<_>>()? })
    }
}

/// The runs of one task.
struct Runs<'a> {
    args: &'a Args,
    task: &'a Task,
    identity: &'a Identity,
    folder: &'a Path,
}

impl Runs<'_> {
    /// Runs the task with each source.
    fn report<B: Backend>(
        &self,
        title: &str,
        fixed: &[(&'static str, Source<B>)],
        swept: &[(f32, Source<B>)],
    ) -> Result<Report> {
        let Args { decoding, until, batch, models, cluster, .. } = self.args;
        let run = Run::new(self.task)
            .decoding(decoding.decoding())
            .batch(*batch)
            .folder(self.folder)
            .version("eft", env!("CARGO_PKG_VERSION"))
            .note("device", models.device.to_string())
            .note("dtype", format!("{:?}", models.dtype))
            .note("tuned system message", models.tuned_system.clone());
        let run = self.identity.record(until.iter().fold(run, |run, stop| run.until(stop)));

        let named = fixed.iter().map(|(name, source)| ((*name).to_owned(), source.clone()));
        let weighted = swept.iter().map(|(alpha, source)| (format!("alpha-{alpha}"), source.clone()));
        let results = run.evaluate_each(&named.chain(weighted).collect::<Vec<_>>());
        let mut results = results.map_err(in_terms_of_flags)?.into_iter();
        let mut report = cluster.iter().fold(Report::new(title), |report, field| report.cluster_by(field));
        for ((name, _), results) in fixed.iter().zip(results.by_ref()) {
            report = report.run(*name, results);
        }
        for ((alpha, _), results) in swept.iter().zip(results) {
            report = report.run_at(format!("α = {alpha}"), f64::from(*alpha), results);
        }
        Ok(report)
    }
}

/// The error of a run, which names the flag that helps.
fn in_terms_of_flags(error: eft_eval::Error) -> anyhow::Error {
    match error {
        eft_eval::Error::OtherRun { path, differences } => anyhow::anyhow!(
            "{} holds the results of another run, which differs in {}; give another folder with `--out`, or delete the file",
            path.display(),
            differences.join("; ")
        ),
        other => other.into(),
    }
}

/// The weight with the best main metric; of several, the one nearest to 1.
fn best<B: Backend>(report: &Report, sources: &Sources<B>) -> Result<f32> {
    let summaries = report.summaries()?;
    let quality = |metric: &MetricSummary| if metric.higher_is_better { metric.value } else { -metric.value };
    let scored = sources.swept.iter().zip(&summaries);
    let scored = scored.filter_map(|((alpha, _), summary)| Some((*alpha, quality(summary.metrics.first()?))));
    let best =
        scored.max_by(|a, b| a.1.total_cmp(&b.1).then((b.0 - 1.0).abs().total_cmp(&(a.0 - 1.0).abs())));
    Ok(best.context("there are no weights")?.0)
}
