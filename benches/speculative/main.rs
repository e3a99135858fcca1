//! Measures speculative decoding: plain and speculative generation of the same texts alternate, and the speed-up is
//! compared with the bound that the acceptance and the costs of passes imply.
//!
//! All parts run unless some are named after `--`:
//! - `simulated`: simulated memory-bound models (`simulated/mod.rs`), with several rates of agreement between draft and
//!   target;
//! - `zoo`, `zoo-tch`: the long answers ("portraits") of the zoo's test part, by candle and by libtorch;
//! - `trio`, `trio-tch`: real models by candle and by libtorch, if there are any (`trio.rs`);
//! - `trio-lookup`: the same by candle, with drafts by lookup, on prompts that ask to repeat much of them and on others. The
//!   parts `simulated` and `zoo` have such drafts, too (`lookup.rs`).
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod bound;
mod clock;
mod compare;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod load;
mod lookup;
#[path = "../simulated/mod.rs"]
mod simulated;
mod table;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod trio;
#[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
mod zoo;

use clock::{Clock, Timed};
use compare::Sums;
use eft_core::{Decoding, Host, Prompt, Sampling, Source, TokenId};
use simulated::{Distribution, model};

const TOKENS: usize = 256;
const ROUNDS: u32 = 3;

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
    #[cfg(all(feature = "candle", feature = "text"))]
    if runs("trio-lookup") {
        trio::looked_up();
    }
    #[cfg(all(feature = "tch", feature = "text"))]
    if runs("trio-tch") {
        trio::by_libtorch();
    }
}

/// Simulated models, which never end a text.
fn simulated() {
    let clock = Clock::default();
    let model = |name: &str, megabytes, distribution| {
        Source::new(Timed::new(model(name, megabytes, distribution), &clock))
    };
    let prompts = (0..ROUNDS).map(|round| (0..16).map(|i| 7 * round + i).collect::<Vec<TokenId>>().into());
    let prompts: Vec<Prompt> = prompts.collect();
    let tokens = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(TOKENS);
    let line = |name: &str, target: &Source<Host>, draft: &Source<Host>| {
        table::line(name, target, draft, &prompts, &tokens, &clock);
    };
    let large = model("large", 64, Distribution { margin: 10.0, agreement: 1.0 });
    let small = model("small", 8, Distribution { margin: 0.0, agreement: 1.0 });
    for agreement in [0.0, 0.5, 0.8, 0.9, 0.97] {
        let tuned = model("tuned", 8, Distribution { margin: 5.0, agreement });
        line(
            &format!("large + (tuned - small), agreement {agreement}"),
            &(&large + (&tuned - &small)),
            &tuned,
        );
    }
    for (megabytes, agreement) in [(8, 0.8), (8, 0.0), (64, 0.0)] {
        let other = model("other", megabytes, Distribution { margin: 5.0, agreement });
        line(&format!("large, other of {megabytes} MB, agreement {agreement}"), &large, &other);
    }
    for copies in [0.0, 0.5, 0.9, 0.97] {
        let model = |name: &str, megabytes, margin, agreement| {
            let distribution = Distribution { margin, agreement };
            Source::new(Timed::new(simulated::model(name, megabytes, distribution).copies(copies), &clock))
        };
        let [large, small] = [("large", 64, 10.0), ("small", 8, 0.0)]
            .map(|(name, megabytes, margin)| model(name, megabytes, margin, 1.0));
        let tuned = model("tuned", 8, 5.0, 0.8);
        let name = format!("large + (tuned - small), agreement 0.8, {copies} copied");
        lookup::lines(&name, &(&large + (&tuned - &small)), &tuned, &prompts, &[], &tokens);
    }
}
