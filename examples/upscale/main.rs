//! Emulated fine-tuning, side by side with its parts: the base, the small tuned model, their combination, and for
//! comparison a large model that was tuned itself, if there is one.
//!
//! ```sh
//! cargo run --release --example upscale                     # the zoo's models, on questions held out from them
//! cargo run --release --example upscale -- --large MODEL --small MODEL --tuned MODEL "How do magnets work?"
//! cargo run --release --example upscale --features grammar -- --json-schema FILE "Describe Nora Abbot as JSON."
//! cargo run --release --example upscale -- --formula "nucleus_delta(tuned, large, small, p=0.9)"
//! ```
mod args;
#[path = "../common/exit.rs"]
mod exit;
#[path = "../common/flags.rs"]
mod flags;
#[path = "../common/models.rs"]
mod models;
mod prompts;
mod report;
#[path = "../common/settings.rs"]
mod settings;
#[path = "../common/zoo.rs"]
mod zoo;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use eft::decode::FinishReason;
use eft::{Decoding, Source};

use args::Args;
use flags::Mode;
use models::{Models, Run};
use prompts::{Item, items};
use report::{Record, Report};

fn main() -> ExitCode {
    let args = Args::parse();
    // Models may take long to load, so prompts are read before.
    let compare = items(&args).map(|items| Compare { args: &args, items });
    exit::exit(compare.and_then(|compare| models::with_backend(&args.models, &compare)))
}

struct Compare<'a> {
    args: &'a Args,
    items: Vec<Item>,
}

impl Run for Compare<'_> {
    fn run<B: eft::Backend>(&self, models: Models<B>) -> Result<()> {
        let Self { args, items } = self;
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = interrupted.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
            .context("cannot listen for Ctrl-C")?;

        let combined = match args.models.mode {
            _ if args.models.formula.is_some() => "formula",
            Mode::Up => "up-scaled",
            Mode::Down => "down-scaled",
            Mode::Amplified => "amplified",
            Mode::Filtered => "filtered",
        };
        let mut columns =
            vec![("base", &models.base), ("tuned", &models.tuned), (combined, &models.combined)];
        columns.extend(models.reference.as_ref().map(|reference| ("reference", reference)));
        let mut report = Report::new(args.json);
        report.models(&columns)?;
        args.texts.report(&models);
        for item in items {
            report.prompt(item)?;
            for (name, source) in &columns {
                let decoding = args.texts.decoding(&models, source, &item.prompt, &args.decoding)?;
                let record = generate::<B>(name, source, item, decoding, &interrupted, &mut report)?;
                report.text(record, item)?;
                if interrupted.load(Ordering::Relaxed) {
                    return Ok(report.summary()?);
                }
            }
        }
        Ok(report.summary()?)
    }
}

/// Generates one text, and prints it while it is generated.
fn generate<B: eft::Backend>(
    name: &str,
    source: &Source<B>,
    item: &Item,
    decoding: Decoding,
    interrupted: &AtomicBool,
    report: &mut Report,
) -> Result<Record> {
    let start = Instant::now();
    report.begin(name)?;
    let mut generation = source.generate(&item.prompt, decoding)?.text()?;
    let (mut text, mut tokens) = (String::new(), 0);
    for piece in generation.by_ref() {
        let piece = piece?;
        report.piece(&piece.text)?;
        tokens += piece.tokens.len();
        text.push_str(&piece.text);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    let finish = match generation.finished() {
        None => "interrupted",
        Some(finished) => {
            tokens += finished.tail.len();
            match finished.reason {
                FinishReason::EndOfSequence(_) => "end of sequence",
                FinishReason::MaxTokens => "token limit",
                FinishReason::ContextFull => "context full",
                _ => "stop sequence",
            }
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    Ok(Record {
        name: name.into(),
        model: source.name(),
        backend: B::NAME,
        prompt: item.shown.clone(),
        text,
        tokens,
        seconds,
        tokens_per_second: tokens as f64 / seconds,
        finish,
        right: None,
    })
}
