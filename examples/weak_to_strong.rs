//! Weak-to-strong search: a large model writes candidates, and a tuned and an untuned small model choose among them.
//!
//! ```sh
//! cargo run --release --example weak_to_strong             # the zoo's models, on questions held out from them
//! cargo run --release --example weak_to_strong -- --large MODEL --small MODEL --tuned MODEL "How do magnets work?"
//! ```
//!
//! With the feature `remote`, the large model may be on a server (`--large http://host:8000/v1#name`), and with
//! `--sampled-only` the server is asked for nothing but sampled text.
//!
//! The guide's score is the log-probability of a text under the tuned small model minus that under the untuned one.
#[macro_use]
#[path = "common/exit.rs"]
mod exit;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/models.rs"]
mod models;
#[path = "common/zoo.rs"]
mod zoo;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use eft::search::{ChunkBeamSearch, ImplicitReward, Proposer, SearchResult};
use eft::{Backend, Decoding, Prompt, Sampling};

use flags::{ModelFlags, check_question};
use models::{Models, Run};

/// Compares samples of the base, best-of-n and chunk beam search.
#[derive(Parser)]
struct Args {
    /// The question to answer; by default several for the zoo's models
    prompt: Option<String>,
    /// The number of the zoo's questions
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "prompt")]
    questions: usize,
    /// The number of texts that are kept after each chunk
    #[arg(long, value_name = "W", default_value_t = 4)]
    width: usize,
    /// The number of continuations of each text
    #[arg(long, value_name = "K", default_value_t = 4)]
    successors: usize,
    /// The number of tokens of a chunk
    #[arg(long, value_name = "C", default_value_t = 5)]
    chunk: usize,
    /// Ask the server that runs the large model for sampled text only, and for no log-probs
    #[arg(long, requires = "large")]
    sampled_only: bool,
    /// The sampling temperature of the base
    #[arg(long, default_value_t = 0.7)]
    temperature: f32,
    /// The random seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The maximum number of tokens of a text
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_tokens: usize,
    #[command(flatten)]
    models: ModelFlags,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // The search has no sum of models, but a base and a guide.
    let checked = args.models.refuse(&["alpha", "beta", "nucleus", "formula", "reference"]);
    let checked = checked.and_then(|()| args.prompt.iter().try_for_each(|prompt| check_question(prompt)));
    exit::exit(checked.and_then(|()| models::with_backend(&args.models, &Compare(&args))))
}

struct Compare<'a>(&'a Args);

impl Run for Compare<'_> {
    fn run<B: Backend>(&self, models: Models<B>) -> Result<()> {
        let Self(args) = self;
        let asked: Vec<_> = match &args.prompt {
            Some(prompt) => vec![(prompt.clone(), None)],
            None => {
                let questions = zoo::questions("short", args.questions)?.into_iter();
                questions.map(|q| (q.question, Some(q.answer))).collect()
            }
        };
        let Args { width, successors, chunk, .. } = **args;
        let rows = width * successors;
        let methods = [
            // Sampling the base is a search with one candidate.
            ("a sample of the base".to_owned(), [1, 1, usize::MAX]),
            (format!("the best of {rows}"), [1, rows, usize::MAX]),
            (format!("chunk beam search, {width}/{successors}/{chunk}"), [width, successors, chunk]),
        ];
        let base: &dyn Proposer = match &models.sampler {
            _ if !args.sampled_only => &models.base,
            Some(sampler) => &**sampler,
            None => bail!("`--sampled-only` needs a large model on a server"),
        };
        say!("base: {}; guide: {} against {}", models.base, models.tuned, models.untuned);
        let sampling = Sampling::default().temperature(args.temperature).seed(args.seed);
        let decoding = Decoding::from(sampling).max_tokens(args.max_tokens);
        for (method, [width, successors, chunk]) in methods {
            let guide = ImplicitReward::new(&models.tuned, &models.untuned);
            let search = ChunkBeamSearch::new(base, guide).decoding(&decoding);
            let search = search.width(width).successors(successors).chunk(chunk);
            let found = asked.iter().map(|(question, _)| Ok(search.run(Prompt::chat(&question[..]))?));
            report(&method, &asked, &found.collect::<Result<Vec<_>>>()?)?;
        }
        Ok(())
    }
}

/// Prints the first text, and the means over all of them.
fn report(method: &str, asked: &[(String, Option<String>)], found: &[SearchResult]) -> Result<()> {
    let text = |found: &SearchResult| found.best().continuation.to_text().trim().to_owned();
    let mean = |of: &dyn Fn(&SearchResult) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
    let score = mean(&|found| found.best().score);
    let drawn = mean(&|found| found.drawn as f64);
    say!("\n{method}: score {score:.2} nats, {drawn:.0} tokens sampled per text");
    if let (Some((question, _)), Some(first)) = (asked.first(), found.first()) {
        say!("    » {question}\n      {}", text(first));
    }
    let known = asked.iter().zip(found).filter_map(|((_, answer), found)| Some((answer.as_ref()?, found)));
    let right: Vec<bool> = known.map(|(answer, found)| text(found) == *answer).collect();
    if !right.is_empty() {
        say!("    exact match: {} of {}", right.iter().filter(|right| **right).count(), right.len());
    }
    Ok(())
}
