//! Weak-to-strong search: a large model writes, and two small ones, of which one is tuned, say what is worth keeping.
//!
//! ```sh
//! cargo run --release --example weak_to_strong -- "When I "
//! ```
//!
//! The guide's score is what tuning has changed: the log-probability of a text under the tuned small model less that
//! under the untuned one. Here that is how much a text reads like verse to models that look back two bytes.
mod common;

use common::large_tuned_untuned;
use eft::search::{Candidate, ChunkBeamSearch, ImplicitReward};
use eft::{Result, Sampling};

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("When I ".into());
    let [large, tuned, untuned] = large_tuned_untuned()?;

    let search = || {
        ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned))
            .decoding(Sampling::default().temperature(0.7).seed(1))
            .max_tokens(120)
    };
    let show = |name: &str, best: &Candidate, drawn: usize| {
        let text = best.continuation.to_text().replace('\n', " / ");
        println!("{name}: {:.1} nats, {drawn} bytes drawn\n    {prompt}{text}", best.score);
    };
    println!("`{large}` by itself, and steered by `{tuned}` over `{untuned}`:");
    // The base alone is a search with nothing to choose from, best-of-n one with a single chunk.
    let base = search().best_of(1).run(&prompt[..])?;
    show("sample of the base", base.best(), base.drawn);
    let best_of = search().best_of(16).run(&prompt[..])?;
    show("best of 16", best_of.best(), best_of.drawn);
    let found = search().width(4).successors(4).chunk(5).run(&prompt[..])?;
    show("chunk beam search, 4 / 4 / 5", found.best(), found.drawn);
    Ok(())
}
