//! Folders, GGUF files and adapters, run by libtorch.
use eft::tch::{Torch, TorchNn};

use crate::{device, folders, laws};

fn nn() -> TorchNn {
    TorchNn::new(Torch::try_from(device()).unwrap())
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
#[cfg(feature = "candle")] // The reader of GGUF files is in the candle backend.
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
fn up_scaling_answers_what_neither_of_its_models_can() {
    laws::up_scaling_answers(|path| folders::model(&nn(), path));
}

#[test]
fn drafted_texts_equal_the_plain_ones() {
    laws::drafts(|path| folders::model(&nn(), path));
}

#[test]
fn values_of_a_sweep_write_what_each_writes_alone() {
    laws::sweeps(|path| folders::model(&nn(), path));
}
