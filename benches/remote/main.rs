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
use eft::{Decoding, Prompt, Sampling, Source, TokenId};

/// The added times of a round trip, in milliseconds, unless others are named.
const DELAYS: [u64; 6] = [0, 10, 20, 50, 100, 200];

/// The question, whose answer has about 190 tokens.
const QUESTION: &str = "Write a portrait of Nora Abbot.";

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

    println!("| delay | log-probs | decoding | tokens/s | round trips a token | bytes a token | accepted |");
    println!("| ---: | --- | --- | ---: | ---: | ---: | ---: |");
    let named: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    for delay in if named.is_empty() { DELAYS.to_vec() } else { named } {
        let url = proxy::delaying(&server, Duration::from_millis(delay));
        for top in [None, Some(20)] {
            let large = connect(&url, top);
            let sum = &large.source + (&tuned - &small);
            let proven = ProvenSum::new(&large.engine, &large.source, &(&tuned - &small)).unwrap().source();
            let target = if top.is_some() { &proven } else { &sum };
            for block in [None, Some(8)] {
                measure(delay, top, &large, target, &tuned, block);
            }
        }
    }
}

fn measure(
    delay: u64,
    top: Option<usize>,
    large: &RemoteModel<Candle>,
    target: &Source<Candle>,
    draft: &Source<Candle>,
    block: Option<usize>,
) {
    let decoding = || Decoding::from(Sampling::greedy()).max_tokens(240);
    let run = || -> (Vec<TokenId>, Option<f64>) {
        let prompt = Prompt::chat(QUESTION);
        let mut text = match block {
            Some(tokens) => {
                target.speculate().draft(draft).block(tokens).generate(prompt, decoding()).unwrap()
            }
            None => target.generate(prompt, decoding()).unwrap(),
        };
        let ids = text.by_ref().map(|token| token.unwrap().id).collect();
        (ids, text.report().and_then(|report| report.acceptance()))
    };
    run(); // The server's cache is warm, as after an earlier question.
    let (before, began) = (large.engine.traffic(), Instant::now());
    let (ids, acceptance) = run();
    let (took, after, count) = (began.elapsed(), large.engine.traffic(), ids.len() as f64);
    let per_token = |from: u64, to: u64| (to - from) as f64 / count;
    println!(
        "| {delay} ms | {} | {} | {:.1} | {:.3} | {:.0} | {} |",
        top.map_or("all".into(), |k| format!("top {k}, proven")),
        block.map_or("plain".into(), |tokens| format!("blocks of {tokens}")),
        count / took.as_secs_f64(),
        per_token(before.requests, after.requests),
        per_token(before.sent + before.received, after.sent + after.received),
        acceptance.map_or("–".into(), |share| format!("{:.0} %", 100.0 * share)),
    );
}
