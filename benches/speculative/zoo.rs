//! The zoo's up-scaled model, drafted by its tuned small model, on its longest texts, of nearly 200 tokens.
use std::path::{Path, PathBuf};

use eft::models::{Checkpoint, Nn};
use eft::{Decoding, Prompt, Sampling, Source};

use crate::clock::Clock;
use crate::load::model;
use crate::lookup::lines;
use crate::table::line;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo").join(name)
}

#[cfg(feature = "candle")]
pub(crate) fn by_candle() {
    use eft::candle::{Candle, CandleNn, Gguf};
    let nn = CandleNn::new(Candle::cpu());
    run("the zoo's portraits", &nn, |clock| model(&nn, &path("base-large"), &folder("base-large"), clock));
    let wide = path("gguf/base-wide-q8_0.gguf");
    run("the zoo's portraits, wide model", &nn, |clock| {
        model(&nn, &wide, &Gguf::open(&wide).unwrap(), clock)
    });
}

#[cfg(feature = "tch")]
pub(crate) fn by_libtorch() {
    use eft::tch::{Torch, TorchNn};
    let nn = TorchNn::new(Torch::cpu());
    run("the zoo's portraits, libtorch", &nn, |clock| {
        model(&nn, &path("base-large"), &folder("base-large"), clock)
    });
}

fn folder(name: &str) -> Checkpoint {
    Checkpoint::open(path(name)).unwrap()
}

/// Measures one of the large models. `large` loads it.
fn run<N: Nn>(name: &str, nn: &N, large: impl FnOnce(&Clock) -> Source<N::Backend>) {
    let clock = Clock::default();
    let large = large(&clock);
    let [small, tuned] =
        ["base-small", "tuned-small"].map(|name| model(nn, &path(name), &folder(name), &clock));
    let decoding = Decoding::from(Sampling::greedy());
    let upscaled = &large + (&tuned - &small);
    let prompts: Vec<_> = fields("test", "question").into_iter().map(Prompt::chat).collect();
    // Portraits of other people.
    let others: Vec<_> =
        fields("tuning", "answer").iter().map(|text| upscaled.continuation(text).unwrap()).collect();
    line(name, &upscaled, &tuned, &prompts, &decoding, &clock);
    lines(name, &upscaled, &tuned, &prompts, &others, &decoding);
}

/// A field of the questions for portraits in one part of the data.
fn fields(part: &str, field: &str) -> Vec<String> {
    let questions = std::fs::read_to_string(path(&format!("questions/{part}-portrait.jsonl"))).unwrap();
    let lines = questions.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line[field].as_str().unwrap().to_string()).collect()
}
