//! Speculative decoding: the tuned small model drafts blocks of tokens, and `large + (tuned − untuned)` verifies each
//! block in one pass.
//!
//! ```sh
//! cargo run --release --example speculative                # the zoo's models, on a portrait of nearly 200 tokens
//! cargo run --release --example speculative -- --lookup    # what was written before is drafted without a model
//! cargo run --release --example speculative -- --large MODEL --small MODEL --tuned MODEL "How do magnets work?"
//! ```
#[macro_use]
#[path = "common/exit.rs"]
mod exit;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/models.rs"]
mod models;
#[path = "common/settings.rs"]
mod settings;
#[path = "common/zoo.rs"]
mod zoo;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use eft::decode::Generation;
use eft::speculate::Lookup;
use eft::{Backend, Prompt};

use flags::{DecodingFlags, ModelFlags, check_question};
use models::{Models, Run};
use settings::TextFlags;

/// Generates a text twice: plainly, and drafted by the tuned model.
#[derive(Parser)]
struct Args {
    /// The question to answer; by default one for the zoo's models
    prompt: Option<String>,
    /// Always draft this many tokens; by default, as many as make decoding fastest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    block: Option<u16>,
    /// Draft what followed the last tokens earlier, in the prompt or in the text, wherever they occurred there: for texts that
    /// repeat much, such as an edited program
    #[arg(long)]
    lookup: bool,
    #[command(flatten)]
    models: ModelFlags,
    #[command(flatten)]
    decoding: DecodingFlags,
    #[command(flatten)]
    texts: TextFlags,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let checked = args.models.refuse(&["reference"]);
    let checked = checked.and_then(|()| args.prompt.iter().try_for_each(|prompt| check_question(prompt)));
    exit::exit(checked.and_then(|()| models::with_backend(&args.models, &Compare(&args))))
}

struct Compare<'a>(&'a Args);

impl Run for Compare<'_> {
    fn run<B: Backend>(&self, models: Models<B>) -> Result<()> {
        let Self(args) = self;
        let asked = match &args.prompt {
            Some(prompt) => prompt.clone(),
            None => zoo::questions("portrait", 1)?.remove(0).question,
        };
        let prompt = Prompt::chat(&asked[..]);
        args.texts.report(&models);
        let decoding = args.texts.decoding(&models, &models.combined, &prompt, &args.decoding)?;
        // With `same_text` the texts are the same even if they are sampled.
        let speculative = models.combined.speculate().draft(&models.tuned).same_text();
        let speculative = match args.lookup {
            true => speculative.lookup(Lookup::default()),
            false => speculative,
        };
        let speculative = args.block.map_or(speculative.clone(), |tokens| speculative.block(tokens.into()));

        say!("{}, drafted by {}\n» {asked}\n", models.combined, models.tuned);
        // The first generation is slower, since weights are read from disk.
        models.combined.generate(&prompt, &decoding)?.try_for_each(|token| token.map(drop))?;
        let (plain, in_plain, _) = timed(models.combined.generate(&prompt, &decoding)?)?;
        let (drafted, in_drafted, generation) = timed(speculative.generate(&prompt, &decoding)?)?;
        say!("plain:  {plain}\n\ndrafted:{drafted}\n\nidentical: {}", plain == drafted);

        let report = generation.report().context("a drafted text without a report")?;
        say!(
            "accepted: {:.0} % of {} judged tokens ({} drafted); {:.2} tokens per pass of the target",
            100.0 * report.acceptance().unwrap_or(0.0),
            report.judged,
            report.drafted,
            report.tokens_per_pass().unwrap_or(0.0)
        );
        if args.lookup {
            say!(
                "of them by lookup: {:.0} % of {} judged tokens ({} drafted)",
                100.0 * report.lookup_acceptance().unwrap_or(0.0),
                report.looked_up_judged,
                report.looked_up
            );
        }
        say!(
            "time: {:.0} ms plain, {:.0} ms drafted: speed-up {:.2}",
            1e3 * in_plain.as_secs_f64(),
            1e3 * in_drafted.as_secs_f64(),
            in_plain.as_secs_f64() / in_drafted.as_secs_f64()
        );
        let micros = |time: Option<Duration>| time.map_or("–".into(), |t| format!("{} µs", t.as_micros()));
        say!(
            "passes: {} for a plain step, {} for a drafted token, {} to verify a block",
            micros(report.plain_pass()),
            micros(report.draft_pass()),
            micros(report.block_pass())
        );
        Ok(())
    }
}

/// Returns the whole text and the time it took.
fn timed<B: Backend>(mut generation: Generation<B>) -> Result<(String, Duration, Generation<B>)> {
    let start = Instant::now();
    let vocab = generation.vocab().clone();
    let mut detokenizer = eft::decode::Detokenizer::new(vocab);
    let mut text = String::new();
    for token in generation.by_ref() {
        text.push_str(&detokenizer.push(token?.id));
    }
    text.push_str(&detokenizer.finish());
    Ok((text, start.elapsed(), generation))
}
