//! Texts that follow random JSON schemas: the time of a mask beside that of a step, how many tokens are forced, and the
//! texts, for a validator to check.
//!
//! Environment variables:
//! - `EFT_MODEL`: a folder or a GGUF file; by default a model of the zoo;
//! - `EFT_SCHEMAS`: a file with one schema a line, by default that of the tests;
//! - `EFT_TEXTS`: a file to write the texts to, as JSON lines with `schema`, `text` and `complete`;
//! - `EFT_TOKENS`: the limit of tokens of a text, by default 1,000;
//! - `EFT_TEMPERATURE`: the temperature, by default 1.
//!
//! `tests/text/grammar/schemas.py` makes schemas and checks texts.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use eft::candle::{Candle, CandleNn};
use eft::decode::FinishReason;
use eft::grammar::{Grammar, GrammarTokens};
use eft::sample::{History, Processor};
use eft::{Decoding, Edit, Loader, Sampling, TokenId};

/// A grammar whose calls are timed.
struct Timed {
    grammar: Grammar,
    times: Arc<Times>,
}

#[derive(Default)]
struct Times {
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    forced: AtomicUsize,
}

impl Times {
    fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let took = start.elapsed().as_nanos() as u64;
        self.nanoseconds.fetch_add(took, Relaxed);
        self.longest.fetch_max(took, Relaxed);
        result
    }
}

impl Processor for Timed {
    fn edits(&self, history: &History<'_>) -> eft::Result<Vec<Edit>> {
        self.times.time(|| self.grammar.edits(history))
    }

    fn forced(&self, history: &History<'_>) -> eft::Result<Vec<TokenId>> {
        let forced = self.times.time(|| self.grammar.forced(history))?;
        self.times.forced.fetch_add(forced.len(), Relaxed);
        Ok(forced)
    }
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.into())
}

fn main() {
    let name = variable("EFT_MODEL", concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small"));
    let file =
        variable("EFT_SCHEMAS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/grammar/schemas.jsonl"));
    let limit = variable("EFT_TOKENS", "1000").parse().unwrap();
    let temperature = variable("EFT_TEMPERATURE", "1").parse().unwrap();
    let mut texts = std::env::var("EFT_TEXTS").ok().map(|file| std::fs::File::create(file).unwrap());

    let model = Loader::new(&name).load_on(CandleNn::new(Candle::cpu())).unwrap();
    let start = Instant::now();
    let tokens = GrammarTokens::of(&model).unwrap();
    println!("{} tokens arranged in {:.0?}", model.source.vocab().real(), start.elapsed());

    let times = Arc::new(Times::default());
    let (mut compiling, mut generating) = (Duration::ZERO, Duration::ZERO);
    let (mut written, mut count, mut cut) = (0, 0, 0);
    for (seed, line) in (0..).zip(std::fs::read_to_string(file).unwrap().lines()) {
        let start = Instant::now();
        let grammar = match Grammar::json_schema(&tokens, line) {
            Ok(grammar) => grammar,
            Err(error) => {
                println!("refused: {error}: {line}");
                continue;
            }
        };
        compiling += start.elapsed();
        let decoding = Decoding::from(Sampling::default().temperature(temperature).seed(seed));
        let decoding = decoding.max_tokens(limit).processor(Timed { grammar, times: times.clone() });
        let start = Instant::now();
        let mut generation = model.source.generate("A JSON document:\n", decoding).unwrap().text().unwrap();
        let mut text = String::new();
        for piece in generation.by_ref() {
            let piece = piece.unwrap();
            written += piece.tokens.len();
            text.push_str(&piece.text);
        }
        generating += start.elapsed();
        let complete =
            generation.finished().is_some_and(|f| matches!(f.reason, FinishReason::EndOfSequence(_)));
        (count, cut) = (count + 1, cut + usize::from(!complete));
        if let Some(texts) = &mut texts {
            let schema: serde_json::Value = serde_json::from_str(line).unwrap();
            writeln!(texts, "{}", serde_json::json!({"schema": schema, "text": text, "complete": complete}))
                .unwrap();
        }
    }
    let masks = Duration::from_nanos(times.nanoseconds.load(Relaxed));
    let longest = Duration::from_nanos(times.longest.load(Relaxed));
    let forced = times.forced.load(Relaxed);
    let steps = (written - forced + count).max(1) as u32;
    println!(
        "{count} schemas, {cut} texts cut off; compiling takes {:.1?} a schema",
        compiling / count as u32
    );
    println!("{written} tokens, {forced} of them forced, in {steps} steps");
    println!(
        "a step takes {:.3?}, of which its masks {:.1?} ({:.2} %), at the most {longest:.1?}",
        generating / steps,
        masks / steps,
        100.0 * masks.as_secs_f64() / generating.as_secs_f64()
    );
}
