//! Weak-to-strong search: a large model writes, and two small ones, of which one is tuned, say what is worth keeping.
//!
//! ```sh
//! cargo run --release --example weak_to_strong             # the zoo's models, on questions held out from them
//! cargo run --release --example weak_to_strong -- --large MODEL --small MODEL --tuned MODEL "How do magnets work?"
//! ```
//!
//! The guide's score is what tuning has changed: the log-probability of a text under the tuned small model less that
//! under the untuned one.
#[path = "common/flags.rs"]
mod flags;
#[path = "common/models.rs"]
mod models;
#[path = "common/zoo.rs"]
mod zoo;

use anyhow::Result;
use clap::Parser;
use eft::search::{ChunkBeamSearch, ImplicitReward, SearchResult};
use eft::{Backend, Decoding, Prompt, Sampling};

use flags::ModelFlags;
use models::{Models, Run};

/// Samples of the base, the best of several, and chunk beam search, by the guide's score.
#[derive(Parser)]
struct Args {
    /// What to answer; without it, questions to the zoo's models
    prompt: Option<String>,
    /// How many of the zoo's questions
    #[arg(long, value_name = "N", default_value_t = 20)]
    questions: usize,
    /// Texts that are kept after each chunk
    #[arg(long, value_name = "W", default_value_t = 4)]
    width: usize,
    /// Ways in which each is extended
    #[arg(long, value_name = "K", default_value_t = 4)]
    successors: usize,
    /// Tokens of a chunk
    #[arg(long, value_name = "C", default_value_t = 5)]
    chunk: usize,
    #[arg(long, default_value_t = 0.7)]
    temperature: f32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_tokens: usize,
    #[command(flatten)]
    models: ModelFlags,
}

fn main() -> Result<()> {
    let args = Args::parse();
    models::with_backend(&args.models, &Compare(&args))
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
            // The base alone is a search with nothing to choose from.
            ("a sample of the base".to_owned(), [1, 1, usize::MAX]),
            (format!("the best of {rows}"), [1, rows, usize::MAX]),
            (format!("chunk beam search, {width}/{successors}/{chunk}"), [width, successors, chunk]),
        ];
        println!("{} writes; {} over {} judges", models.base, models.tuned, models.untuned);
        let sampling = Sampling::default().temperature(args.temperature).seed(args.seed);
        let decoding = Decoding::from(sampling).max_tokens(args.max_tokens);
        for (method, [width, successors, chunk]) in methods {
            let guide = ImplicitReward::new(&models.tuned, &models.untuned);
            let search = ChunkBeamSearch::new(&models.base, guide).decoding(&decoding);
            let search = search.width(width).successors(successors).chunk(chunk);
            let found = asked.iter().map(|(question, _)| Ok(search.run(Prompt::chat(&question[..]))?));
            tell(&method, &asked, &found.collect::<Result<Vec<_>>>()?);
        }
        Ok(())
    }
}

/// The first text, and what was found of all.
fn tell(method: &str, asked: &[(String, Option<String>)], found: &[SearchResult]) {
    let text = |found: &SearchResult| found.best().continuation.to_text().trim().to_owned();
    let mean = |of: &dyn Fn(&SearchResult) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
    let score = mean(&|found| found.best().score);
    let drawn = mean(&|found| found.drawn as f64);
    println!("\n{method}: {score:.2} nats by the guide, {drawn:.0} tokens drawn a text");
    if let (Some((question, _)), Some(first)) = (asked.first(), found.first()) {
        println!("    » {question}\n      {}", text(first));
    }
    let known = asked.iter().zip(found).filter_map(|((_, answer), found)| Some((answer.as_ref()?, found)));
    let right: Vec<bool> = known.map(|(answer, found)| text(found) == *answer).collect();
    if !right.is_empty() {
        println!("    exact match: {} of {}", right.iter().filter(|right| **right).count(), right.len());
    }
}
