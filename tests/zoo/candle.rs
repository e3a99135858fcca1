//! Folders, GGUF files and adapters, run by candle.
use eft::Source;
use eft::candle::{Candle, CandleNn};

use crate::{device, folders, laws, mixture};

pub(crate) fn nn() -> CandleNn {
    CandleNn::new(Candle::try_from(device()).unwrap())
}

#[test]
fn conversations_are_rendered_as_the_models_were_trained() {
    folders::renders(&nn());
}

#[test]
fn models_write_what_transformers_writes() {
    folders::models(&nn());
}

#[test]
fn gguf_files_write_what_their_folders_do() {
    folders::gguf_files(&nn());
}

#[test]
fn combinations_write_what_transformers_writes() {
    folders::combinations(&nn());
}

#[test]
fn logits_are_those_of_transformers() {
    folders::logits(&nn());
}

#[test]
fn learned_weights_of_a_mixture_are_better_than_constant_ones() {
    let small = folders::small(&nn());
    mixture::learned(&folders::adapted(&nn(), &small, "terse"), &folders::adapted(&nn(), &small, "full"));
}

#[test]
fn up_scaling_answers_what_neither_of_its_models_can() {
    laws::up_scaling_answers(|path| folders::model(&nn(), path));
}

/// The model of the example `speculative`, in another file than the other large one.
fn with_wide_model(path: &str) -> Source<Candle> {
    folders::model(&nn(), if path == "base-large" { "gguf/base-wide-q8_0.gguf" } else { path })
}

#[test]
fn a_wide_model_is_up_scaled_too() {
    laws::up_scaling_answers(with_wide_model);
}

#[test]
fn drafted_texts_equal_the_plain_ones() {
    laws::drafts(|path| folders::model(&nn(), path));
    laws::drafts(with_wide_model);
}

#[test]
fn values_of_a_sweep_write_what_each_writes_alone() {
    laws::sweeps(|path| folders::model(&nn(), path));
}

#[test]
#[ignore = "takes a minute in a release build: every question of the zoo"]
fn a_thousand_drafted_texts_equal_the_plain_ones() {
    laws::drafts_everything(|path| folders::model(&nn(), path));
}
