//! The zoo's up-scaled model, drafted by its tuned small one, on the texts of nearly 200 tokens that it has.
use eft::candle::{Candle, CandleNn};
use eft::models::{Checkpoint, DecoderEngine};
use eft::{Decoding, Loader, Prompt, Sampling, Source};

use crate::metered::{Clock, Metered};

fn path(name: &str) -> String {
    format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn model(name: &str, clock: &Clock) -> Source<Candle> {
    let nn = CandleNn::new(Candle::cpu());
    let loaded = Loader::new(path(name)).load_on(nn.clone()).unwrap();
    let checkpoint = Checkpoint::open(path(name)).unwrap();
    let engine = DecoderEngine::load(nn, &checkpoint, Some(loaded.source.vocab().clone())).unwrap();
    Source::new(Metered::new(engine, clock)).rendered_by(loaded.renderer.unwrap()).unwrap()
}

pub(crate) fn run() {
    let clock = Clock::default();
    let [large, small, tuned] = ["base-large", "base-small", "tuned-small"].map(|name| model(name, &clock));
    let questions = std::fs::read_to_string(path("questions/test-portrait.jsonl")).unwrap();
    let prompts = questions.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Prompt::chat(line["question"].as_str().unwrap())
    });
    let decoding = Decoding::from(Sampling::greedy());
    let upscaled = &large + (&tuned - &small);
    crate::line("the zoo's portraits", &upscaled, &tuned, &prompts.collect::<Vec<_>>(), &decoding, &clock);
}
