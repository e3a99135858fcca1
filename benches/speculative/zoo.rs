//! The zoo's up-scaled model, drafted by its tuned small one, on the texts of nearly 200 tokens that it has.
use eft::models::{Checkpoint, DecoderEngine, Nn};
use eft::{Decoding, Loader, Prompt, Sampling, Source};

use crate::metered::{Clock, Metered};

fn path(name: &str) -> String {
    format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn model<N: Nn>(nn: &N, name: &str, clock: &Clock) -> Source<N::Backend> {
    let loaded = Loader::new(path(name)).load_on(nn.clone()).unwrap();
    let checkpoint = Checkpoint::open(path(name)).unwrap();
    let engine = DecoderEngine::load(nn.clone(), &checkpoint, Some(loaded.source.vocab().clone())).unwrap();
    Source::new(Metered::new(engine, clock)).rendered_by(loaded.renderer.unwrap()).unwrap()
}

#[cfg(feature = "candle")]
pub(crate) fn by_candle() {
    use eft::candle::{Candle, CandleNn};
    run("the zoo's portraits", &CandleNn::new(Candle::cpu()));
}

#[cfg(feature = "tch")]
pub(crate) fn by_libtorch() {
    use eft::tch::{Torch, TorchNn};
    run("the same by libtorch", &TorchNn::new(Torch::cpu()));
}

fn run<N: Nn>(name: &str, nn: &N) {
    let clock = Clock::default();
    let [large, small, tuned] =
        ["base-large", "base-small", "tuned-small"].map(|name| model(nn, name, &clock));
    let questions = std::fs::read_to_string(path("questions/test-portrait.jsonl")).unwrap();
    let prompts = questions.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Prompt::chat(line["question"].as_str().unwrap())
    });
    let decoding = Decoding::from(Sampling::greedy());
    let upscaled = &large + (&tuned - &small);
    crate::line(name, &upscaled, &tuned, &prompts.collect::<Vec<_>>(), &decoding, &clock);
}
