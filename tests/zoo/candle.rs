//! Folders, GGUF files and adapters, by candle.
use eft::candle::{Candle, CandleNn};
use eft::load::Loader;
use eft::{Prompt, Source};

use crate::{laws, zoo};

fn loader(path: &str) -> Loader {
    Loader::new(zoo(path).to_string_lossy())
}

pub(crate) fn model(path: &str) -> Source<Candle> {
    loader(path).load().unwrap()
}

/// The small model with its adapters, which share its weights.
pub(crate) fn small() -> Source<Candle> {
    let adapters = ["tuned-small", "terse", "full"];
    let with = |l: Loader, name: &&str| l.adapter(*name, zoo(&format!("adapters/{name}")));
    adapters.iter().fold(loader("base-small"), with).load().unwrap()
}

/// The small model under an adapter, which was tuned on the chat template of `tuned-small`.
pub(crate) fn adapted(small: &Source<Candle>, name: &str) -> Source<Candle> {
    let tuned = loader("tuned-small").load_on(CandleNn::new(Candle::cpu())).unwrap();
    small.adapter(name).unwrap().rendered_by(tuned.renderer.unwrap()).unwrap()
}

#[test]
fn conversations_are_rendered_as_the_models_were_trained() {
    laws::renders(model);
    assert_eq!(
        model("gguf/base-large-f16.gguf").render(Prompt::chat("Why?")).unwrap(),
        model("base-large").render(Prompt::chat("Why?")).unwrap()
    );
}

#[test]
fn models_write_what_transformers_writes() {
    laws::MODELS.iter().for_each(|name| laws::writes(&model(name), name));
}

#[test]
fn gguf_files_write_what_their_folders_do() {
    for name in ["base-small", "tuned-small", "base-large"] {
        laws::writes(&model(&format!("gguf/{name}-f16.gguf")), name);
    }
}

#[test]
fn combinations_write_what_transformers_writes() {
    laws::writes(&laws::upscaled(model).0, "base-large + tuned-small - base-small");
    let (large, small) = (model("base-large"), small());
    let (terse, full) = (adapted(&small, "terse"), adapted(&small, "full"));
    let mixed = &large + (0.5 * (&terse - &small) + 0.5 * (&full - &small));
    laws::writes(&mixed, "base-large + 0.5 terse + 0.5 full - base-small");
}

#[test]
fn logits_are_those_of_transformers() {
    let small = small();
    let adapters =
        ["tuned-small", "terse", "full"].map(|n| (format!("adapters/{n}"), small.adapter(n).unwrap()));
    laws::logits(laws::MODELS.map(|name| (name.to_owned(), model(name))).into_iter().chain(adapters));
}

#[test]
fn up_scaling_answers_what_neither_of_its_models_can() {
    laws::up_scaling_answers(model);
}

#[test]
fn drafted_texts_are_the_plain_ones() {
    laws::drafts(model);
}

#[test]
#[ignore = "takes a minute in a release build: every question of the zoo"]
fn a_thousand_drafted_texts_are_the_plain_ones() {
    laws::drafts_everything(model);
}
