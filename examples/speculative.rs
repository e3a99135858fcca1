//! Speculative decoding: the tuned small model writes ahead, and `large + (tuned − untuned)` judges whole blocks of it.
//!
//! ```sh
//! cargo run --release --example speculative -- "When I "
//! ```
//!
//! Any source has it: `.speculate()` before `.generate(…)`, and the text is the same. The models here (n-grams of
//! `common/ngram.rs`) are a few lookups each, so that a pass of the large one costs hardly more than one of the small
//! ones: do not expect much of the speed-up. `cargo bench --bench speculative` has models whose passes cost something.
mod common;

use common::{decode, large_tuned_untuned};
use eft::{Decoding, Result, Sampling};

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("When I ".into());
    let [large, tuned, untuned] = large_tuned_untuned()?;
    let upscaled = &large + (&tuned - &untuned);
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200);

    let mut texts = Vec::new();
    texts.push(upscaled.generate(&prompt[..], &decoding)?.map(|t| Ok(t?.id)).collect::<Result<Vec<_>>>()?);
    // Blocks of fixed length here, to have something to see; left out, they are as long as pays.
    let mut fast = upscaled.speculate().draft(&tuned).block(3).generate(&prompt[..], &decoding)?;
    texts.push(fast.by_ref().map(|t| Ok(t?.id)).collect::<Result<Vec<_>>>()?);
    for (name, text) in ["plain", "drafted"].iter().zip(&texts) {
        println!("{name}:\n    {prompt}{}", decode(text.iter().copied()).replace('\n', " / "));
    }
    println!("identical: {}", texts[0] == texts[1]);
    if let Some(report) = fast.report() {
        println!(
            "{:.0} % of the drafted bytes accepted, {:.2} bytes a pass of the large model",
            100.0 * report.acceptance().unwrap_or(0.0),
            report.tokens_per_pass().unwrap_or(0.0)
        );
    }

    let mut adaptive = upscaled.speculate().generate(&prompt[..], &decoding)?;
    adaptive.by_ref().try_for_each(|token| token.map(drop))?;
    if let Some(report) = adaptive.report() {
        let micros = |time: Option<std::time::Duration>| time.map_or(0.0, |t| 1e6 * t.as_secs_f64());
        println!(
            "as long as pays: {} blocks, {} plain steps; {:.0} µs a plain step, {:.0} a drafted token, {:.0} a block; speed-up {:.2}",
            report.blocks,
            report.plain_steps,
            micros(report.plain_pass()),
            micros(report.draft_pass()),
            micros(report.block_pass()),
            report.speed_up().unwrap_or(1.0)
        );
    }
    Ok(())
}
