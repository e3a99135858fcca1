//! Measures chunk beam search, and compares it with its parts: sampling the same number of texts and tokens, and
//! scoring them once. The models are simulated (`simulated/mod.rs`).
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod simulated;

use std::time::Instant;

use eft_core::decode::Event;
use eft_core::search::{ChunkBeamSearch, ImplicitReward};
use eft_core::{Decoding, Host, Sampling, Source, TokenId};
use simulated::{Distribution, model};

const ROUNDS: usize = 3;

fn main() {
    let distribution = Distribution { margin: 8.0, agreement: 0.7 };
    let [large, tuned, untuned] = [("large", 64), ("tuned", 8), ("untuned", 8)]
        .map(|(name, megabytes)| Source::new(model(name, megabytes, distribution)));
    println!("W/K/C, tokens      sampling, s  scoring, s  search, s   over both");
    for (width, successors, chunk, tokens) in
        [(4, 4, 5, 50), (2, 2, 30, 120), (1, 1, 5, 50), (1, 16, usize::MAX, 50)]
    {
        compare([&large, &tuned, &untuned], (width, successors, chunk), tokens);
    }
}

fn compare(
    [large, tuned, untuned]: [&Source<Host>; 3],
    (width, successors, chunk): (usize, usize, usize),
    tokens: usize,
) {
    let rows = width * successors;
    let prompt: Vec<TokenId> = (0..64).collect();
    let decoding = Decoding::from(Sampling::default().temperature(0.7)).stop_ids([]).max_tokens(tokens);
    let (mut sampling, mut scoring, mut searching) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut texts = vec![Vec::new(); rows];
        for event in large.generate_batch(vec![prompt.clone(); rows], &decoding).unwrap() {
            if let Event::Token { row, token } = event.unwrap() {
                texts[row].push(token.id);
            }
        }
        sampling.push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        for model in [tuned, untuned] {
            model.score_batch(texts.iter().map(|text| (prompt.clone(), text.clone()))).unwrap();
        }
        scoring.push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let search = ChunkBeamSearch::new(large, ImplicitReward::new(tuned, untuned));
        let search = search.width(width).successors(successors).chunk(chunk).decoding(&decoding);
        let found = search.run(prompt.clone()).unwrap();
        searching.push(start.elapsed().as_secs_f64());
        assert_eq!(found.drawn, rows * tokens);
    }
    let (sampling, scoring, searching) = (median(sampling), median(scoring), median(searching));
    let chunk = if chunk == usize::MAX { "∞".into() } else { chunk.to_string() };
    println!(
        "{:18} {sampling:11.3} {scoring:11.3} {searching:10.3} {:11.2}",
        format!("{width}/{successors}/{chunk}, {tokens}"),
        searching / (sampling + scoring),
    );
}

/// The median of some times.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
