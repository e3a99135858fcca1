//! ONNX files, run by ONNX Runtime. These tests need its library.
use eft::Source;
use eft::load::{Error, Loader};
use eft::ort::{Options, Ort};

use crate::{device, laws, zoo};

/// The backend. Panics with instructions if the library is missing.
fn ort() -> Ort {
    let options = Options::default().on(device()).unwrap();
    Ort::new(&options).unwrap_or_else(|e| {
        panic!("these tests need ONNX Runtime: {e}; eft-backend-ort/get-onnxruntime gets it")
    })
}

fn loader(path: &str) -> Loader {
    Loader::new(zoo(path).to_string_lossy())
}

fn model(path: &str) -> Source<Ort> {
    loader(path).load_onnx(&ort()).unwrap().source
}

#[test]
fn conversations_are_rendered_as_the_models_were_trained() {
    laws::renders(model);
}

#[test]
fn models_write_what_transformers_writes() {
    laws::MODELS.iter().for_each(|name| laws::writes(&model(name), name));
}

#[test]
fn combinations_write_what_transformers_writes() {
    laws::writes(&laws::upscaled(model).0, "base-large + tuned-small - base-small");
}

/// An ONNX file takes no adapters, but another backend can run them.
#[test]
#[cfg(feature = "candle")]
fn adapters_of_another_backend_are_bridged() {
    use crate::candle::nn;
    use crate::folders::{adapted, small};

    let (nn, small) = (nn(), small(&nn()));
    let (terse, full) = (adapted(&nn, &small, "terse"), adapted(&nn, &small, "full"));
    let tuning = 0.5 * (&terse - &small) + 0.5 * (&full - &small);
    let mixed = model("base-large") + eft::bridge(tuning, ort());
    laws::writes(&mixed, "base-large + 0.5 terse + 0.5 full - base-small");
}

#[test]
fn logits_are_those_of_transformers() {
    laws::logits(laws::MODELS.map(|name| (name.to_owned(), model(name))));
}

#[test]
fn up_scaling_answers_what_neither_of_its_models_can() {
    laws::up_scaling_answers(model);
}

#[test]
fn drafted_texts_equal_the_plain_ones() {
    laws::drafts(model);
}

#[test]
fn values_of_a_sweep_write_what_each_writes_alone() {
    laws::sweeps(model);
}

#[test]
fn adapters_are_refused() {
    let error = loader("base-small").adapter("terse", zoo("adapters/terse")).load_onnx(&ort()).unwrap_err();
    assert!(matches!(error, Error::Core(eft::Error::Unsupported { .. })), "{error}");
    let error = error.to_string();
    assert!(error.contains("base-small` as an ONNX file") && error.contains("`terse`"), "{error}");
}
