//! What speculation is worth: plain and drafted generation of the same texts, alternating, and beside it what the
//! acceptance and the costs of the passes would allow.
//!
//! In parts, all of which run unless some are named behind `--`:
//! - `simulated`: memory-bound models of nothing (`simulated/mod.rs`), with a draft that is right as often as each line
//!   says;
//! - `zoo`, `zoo-tch`: all portraits of the zoo's test part by candle and by libtorch, if it is there;
//! - `trio`, `trio-tch`: real models by candle and by libtorch, if there are any (`trio.rs`).
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod allowed;
mod compare;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod load;
mod metered;
#[path = "../simulated/mod.rs"]
mod simulated;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod trio;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod zoo;

use allowed::Costs;
use compare::{Contest, Sums};
use eft_core::{Backend, Decoding, Host, Prompt, Sampling, Source, TokenId};
use metered::{Clock, Timed};
use simulated::{Taste, model};

const TOKENS: usize = 256;
const ROUNDS: u32 = 3;
/// How often the costs of passes are measured, over all texts.
const MEASURED: usize = 13;

fn main() {
    let named: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    Sums::heading();
    if runs("simulated") {
        simulated();
    }
    #[cfg(all(feature = "candle", feature = "text"))]
    if runs("zoo") {
        zoo::by_candle();
    }
    #[cfg(all(feature = "tch", feature = "text"))]
    if runs("zoo-tch") {
        zoo::by_libtorch();
    }
    #[cfg(all(feature = "candle", feature = "text"))]
    if runs("trio") {
        trio::by_candle();
    }
    #[cfg(all(feature = "tch", feature = "text"))]
    if runs("trio-tch") {
        trio::by_libtorch();
    }
}

/// Models that never end a text.
fn simulated() {
    let clock = Clock::default();
    let model = |name: &str, megabytes, taste| Source::new(Timed::new(model(name, megabytes, taste), &clock));
    let prompts = (0..ROUNDS).map(|round| (0..16).map(|i| 7 * round + i).collect::<Vec<TokenId>>().into());
    let prompts: Vec<Prompt> = prompts.collect();
    let tokens = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(TOKENS);
    let line = |name: &str, target: &Source<Host>, draft: &Source<Host>| {
        line(name, target, draft, &prompts, &tokens, &clock);
    };
    let large = model("large", 64, Taste { height: 10.0, right: 1.0 });
    let small = model("small", 8, Taste { height: 0.0, right: 1.0 });
    for right in [0.0, 0.5, 0.8, 0.9, 0.97] {
        let tuned = model("tuned", 8, Taste { height: 5.0, right });
        line(&format!("large + (tuned - small), right {right}"), &(&large + (&tuned - &small)), &tuned);
    }
    for (megabytes, right) in [(8, 0.8), (8, 0.0), (64, 0.0)] {
        let other = model("other", megabytes, Taste { height: 5.0, right });
        line(&format!("large, other of {megabytes} MB, right {right}"), &large, &other);
    }
}

/// One line: a target decoded plainly and by a draft, by turns.
fn line<B: Backend>(
    name: &str,
    target: &Source<B>,
    draft: &Source<B>,
    prompts: &[Prompt],
    decoding: &Decoding,
    clock: &Clock,
) {
    let contest = Contest::new(target, draft, decoding, clock);
    let mut sums = Sums::default();
    let mut costs = Vec::new();
    let mut blocks: Vec<_> = lengths().into_iter().map(|length| (length, Sums::default())).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let outcome = contest.run(prompt, &mut sums);
        assert!(outcome.left.is_none(), "not the same text");
        for (length, sums) in &mut blocks {
            contest.fixed(*length).drafted(prompt, sums);
        }
        // In between, so that both have the same weather.
        if index.is_multiple_of(prompts.len().div_ceil(MEASURED)) {
            costs.push(Costs::measure(target, draft, (prompt, &outcome.text), clock, 2));
        }
    }
    sums.print(name, &Costs::mean(&costs));
    for (length, sums) in blocks {
        sums.print_block(length);
    }
}

/// Lengths of drafts that are tried beside what the pace chooses.
fn lengths() -> Vec<usize> {
    let lengths = std::env::var("EFT_BLOCKS").unwrap_or_default();
    lengths.split(',').filter(|length| !length.is_empty()).map(|length| length.parse().unwrap()).collect()
}
