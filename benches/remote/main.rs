//! Measures what the distance to the large model costs: `large + (tuned − small)` with `large` on a llama-server behind a
//! proxy that delays, plain and drafted by the tuned model.
//!
//! ```sh
//! export "$(eft-backend-remote/get-llama-server)"
//! cargo bench --features remote --bench remote           # or with delays in milliseconds: -- 0 50
//! ```
//!
//! With `EFT_REMOTE_URL` another server of the zoo's `base-large` is measured.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "../../eft-backend-remote/tests/all/process.rs"]
mod process;
mod proxy;

use std::path::Path;
use std::time::{Duration, Instant};

use eft::candle::Candle;
use eft::load::{Loader, RemoteModel};
use eft::remote::ProvenSum;
use eft::{Decoding, Prompt, Sampling, Source};

/// The added times of a round trip, in milliseconds, unless others are named.
const DELAYS: [u64; 5] = [0, 10, 50, 100, 200];

/// The kinds of questions, and how many of each are asked: answers of about 190 tokens that the tuned model drafts well,
/// and of 26 tokens, of which it drafts fewer.
const QUESTIONS: [(&str, usize); 2] = [("portrait", 2), ("long", 10)];

/// The most tokens of a text.
const LONGEST: usize = 120;

/// The length of a draft: with the position after it, as many prompts as llama-server has slots.
const BLOCK: usize = 7;

/// The numbers of log-probs that are asked for (all if `None`), and the temperatures.
const CASES: [(Option<usize>, f32); 3] = [(None, 0.0), (Some(20), 0.0), (None, 1.0)];

fn main() {
    let zoo = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo").join(path);
    let load = |name: &str| Loader::new(zoo(name).to_string_lossy()).load();
    let (tuned, small) = (load("tuned-small").unwrap(), load("base-small").unwrap());
    let (_process, server) = match std::env::var("EFT_REMOTE_URL") {
        Ok(url) => (None, url),
        Err(_) => {
            let Some(program) = process::program("EFT_LLAMA_SERVER") else { return };
            let (process, url) = process::Process::llama_server(&program, &zoo("gguf/base-large-f16.gguf"));
            (Some(process), url)
        }
    };
    let tokenizer = zoo("base-large").to_string_lossy().into_owned();
    let connect = |url: &str, top: Option<usize>| -> RemoteModel<Candle> {
        let loader = Loader::new(url).tokenizer_of(&tokenizer);
        let loader = loader.remote(move |remote| if let Some(k) = top { remote.top(k) } else { remote });
        loader.load_remote(Candle::cpu()).unwrap()
    };

    let questions = QUESTIONS.map(|(kind, count)| {
        let file = std::fs::read_to_string(zoo(&format!("questions/test-{kind}.jsonl"))).unwrap();
        let lines = file.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let questions = lines.take(count).map(|line| line["question"].as_str().unwrap().to_owned());
        (kind, questions.collect::<Vec<_>>())
    });
    println!(
        "| delay | log-probs | texts | drafts | tokens/s | round trips a token | bytes a token | accepted |"
    );
    println!("| ---: | --- | --- | --- | ---: | ---: | ---: | ---: |");
    let named: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    for delay in if named.is_empty() { DELAYS.to_vec() } else { named } {
        let url = proxy::delaying(&server, Duration::from_millis(delay));
        for (top, temperature) in CASES {
            let large = connect(&url, top);
            let sum = &large.source + (&tuned - &small);
            let proven = ProvenSum::new(&large.engine, &large.source, &(&tuned - &small)).unwrap().source();
            let target = if top.is_some() { &proven } else { &sum };
            let told = top.map_or("all".into(), |k| format!("top {k}, proven"));
            let drawn =
                if temperature > 0.0 { format!("temperature {temperature}") } else { "greedy".into() };
            for (kind, questions) in &questions {
                let case = format!("{delay} ms | {told} | {kind}, {drawn}");
                for draft in [None, Some(&tuned)] {
                    measure(&case, questions, &large, target, draft, temperature);
                }
            }
        }
    }
}

/// Writes the answers, and prints a row of the table.
fn measure(
    case: &str,
    questions: &[String],
    large: &RemoteModel<Candle>,
    target: &Source<Candle>,
    draft: Option<&Source<Candle>>,
    temperature: f32,
) {
    let (before, began) = (large.engine.traffic(), Instant::now());
    let (mut count, mut accepted, mut judged) = (0, 0.0, 0);
    for (question, seed) in questions.iter().zip(1..) {
        let sampling = Sampling::default().temperature(temperature).seed(seed);
        let decoding = Decoding::from(sampling).max_tokens(LONGEST);
        let prompt = Prompt::chat(&question[..]);
        let mut text = match draft {
            Some(draft) => target.speculate().draft(draft).block(BLOCK).generate(prompt, decoding).unwrap(),
            None => target.generate(prompt, decoding).unwrap(),
        };
        count += text.by_ref().map(Result::unwrap).count();
        if let Some(report) = text.report() {
            accepted += report.acceptance().unwrap_or(0.0) * report.judged as f64;
            judged += report.judged;
        }
    }
    let (took, after) = (began.elapsed(), large.engine.traffic());
    let per_token = |from: u64, to: u64| (to - from) as f64 / count as f64;
    println!(
        "| {case} | {} | {:.1} | {:.3} | {:.0} | {} |",
        if draft.is_some() { format!("blocks of {BLOCK}") } else { "none".into() },
        count as f64 / took.as_secs_f64(),
        per_token(before.requests, after.requests),
        per_token(before.sent + before.received, after.sent + after.received),
        if judged > 0 { format!("{:.0} %", 100.0 * accepted / judged as f64) } else { "–".into() },
    );
}
