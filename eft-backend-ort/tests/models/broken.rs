//! Missing files and broken models are refused with errors that describe the fault.
use std::fs;
use std::path::Path;

use eft_backend_ort::{Error, OnnxEngine, Options, Ort, load};
use eft_core::{Prompt, Vocab};
use proptest::prelude::*;

use crate::tiny::{causes, exported, ort};

fn refused(path: impl AsRef<Path>) -> Error {
    match load(path, &ort(), None) {
        Ok(source) => panic!("{source} was accepted"),
        Err(error) => error,
    }
}

/// A temporary folder that holds one file.
fn folder(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
    folder
}

fn llama() -> Vec<u8> {
    fs::read(exported("llama").join("model.onnx")).unwrap()
}

/// The bytes with every occurrence of a name replaced by another of the same length.
fn renamed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> =
        (0..bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|i| bytes[i..i + to.len()].copy_from_slice(to.as_bytes()));
    bytes
}

#[test]
fn missing_files_are_named() {
    let missing = refused("/nonexistent/model.onnx");
    assert!(matches!(&missing, Error::Io { file, .. } if file.ends_with("model.onnx")), "{missing}");
    let empty = tempfile::tempdir().unwrap();
    let none = refused(empty.path());
    assert!(matches!(&none, Error::NoModel { .. }));
    assert!(none.to_string().contains("onnx/model.onnx"), "{none}");
    // A graph without the file of its weights.
    let lone = fs::read(exported("qwen2").join("onnx/model.onnx")).unwrap();
    let lone = folder("onnx/model.onnx", &lone);
    let error = refused(lone.path());
    assert!(matches!(&error, Error::BadModel { file, .. } if file.ends_with("onnx/model.onnx")), "{error}");
    assert!(causes(&error).contains("model.onnx_data"), "{error:?}");
}

#[test]
fn files_that_are_no_model_are_named() {
    let bytes = llama();
    for wrong in [&b""[..], b"not a model", &bytes[..bytes.len() / 2], &bytes[..100]] {
        let folder = folder("model.onnx", wrong);
        let error = refused(folder.path());
        assert!(matches!(&error, Error::BadModel { file, .. } if file.ends_with("model.onnx")), "{error}");
    }
}

#[test]
fn models_that_are_no_decoder_are_refused_with_their_inputs_and_outputs() {
    let cases = [
        ("input_ids", "input_idz", "`input_idz` is no input of a decoder"),
        ("logits", "logitz", "output `logits` is missing"),
        ("present.1.value", "present.9.value", "output `present.1.value` is missing"),
        ("past_key_values.0", "pest_key_values.0", "`pest_key_values.0.key` is no input of a decoder"),
    ];
    for (from, to, problem) in cases {
        let folder = folder("model.onnx", &renamed(&llama(), from, to));
        let error = refused(folder.path());
        let Error::Interface { inputs, outputs, .. } = &error else { panic!("{error}") };
        assert!(inputs.len() >= 3 && !outputs.is_empty());
        assert!(error.to_string().contains(problem), "{error}");
        assert!(error.to_string().contains("expected are inputs input_ids"), "{error}");
    }
}

#[test]
fn inputs_and_outputs_of_wrong_types_or_shapes_are_named() {
    let broken = |name: &str| exported("broken").join(name).with_extension("onnx");
    let _ = load(broken("sound"), &ort(), None).unwrap();
    let cases = [
        ("fixed-sequence", "`input_ids` has dimension 1 of 8: not dynamic"),
        ("fixed-past", "`past_key_values.0.key` has dimension 2 of 8: not dynamic"),
        ("unknown-heads", "`past_key_values.0.key` has dimension 1 of -1: dynamic"),
        ("float-ids", "`input_ids` is of type f32, not i64 or i32"),
        ("double-logits", "`logits` is of type f64, not f32, f16 or bf16"),
        ("flat-logits", "`logits` has 2 dimensions instead of 3"),
        ("half-present", "`present.0.key` is not of type f32, as its input is"),
    ];
    for (name, problem) in cases {
        let error = refused(broken(name));
        assert!(matches!(&error, Error::Interface { file, .. } if *file == broken(name)), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    let error = refused(broken("forgetful"));
    assert!(matches!(&error, Error::Cache { .. }), "{error}");
    let error = refused(broken("future-opset"));
    assert!(matches!(&error, Error::BadModel { .. }), "{error}");
}

/// The logits of this model over its cache differ by twice what rounding explains.
#[test]
fn a_model_with_an_inexact_cache_is_loaded_with_a_warning() {
    let engine = OnnxEngine::load(exported("broken/drifting.onnx"), &ort(), None).unwrap();
    let [warning] = engine.warnings() else { panic!("{:?}", engine.warnings()) };
    assert!(warning.contains("over the cache differ by 1.2e-4 standard deviations"), "{warning}");
    let sound = OnnxEngine::load(exported("broken/sound.onnx"), &ort(), None).unwrap();
    assert!(sound.warnings().is_empty(), "{:?}", sound.warnings());
}

#[test]
fn invalid_configurations_are_named() {
    for (json, what) in [("{", "config.json"), (r#"{"max_position_embeddings": "many"}"#, "config.json")] {
        let folder = folder("model.onnx", &llama());
        fs::write(folder.path().join("config.json"), json).unwrap();
        let error = refused(folder.path());
        assert!(matches!(&error, Error::Config { file, .. } if file.ends_with(what)), "{error}");
    }
}

#[test]
fn a_vocabulary_of_another_width_is_refused() {
    let vocab = Vocab::anonymous("small", 95).unwrap();
    let error = load(exported("llama"), &ort(), Some(vocab)).map(drop).unwrap_err();
    assert!(
        error.to_string().contains("rows of the vocabulary `small` for `llama`: expected 96, got 95"),
        "{error}"
    );
}

#[test]
fn a_second_number_of_threads_is_refused() {
    let _first = ort();
    let error = Ort::new(&Options::default().threads(97)).unwrap_err();
    assert!(matches!(error, Error::Threads { requested: 97, .. }), "{error}");
}

/// A message does not repeat that of its source.
#[test]
fn messages_do_not_repeat_their_source() {
    let config = folder("model.onnx", &llama());
    fs::write(config.path().join("config.json"), "{").unwrap();
    let refused = [
        refused("/nonexistent/model.onnx"),
        refused(folder("model.onnx", b"not a model").path()),
        refused(config.path()),
        refused(exported("broken").join("forgetful.onnx")),
    ];
    for error in refused {
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&source), "{}", causes(&error));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A model with changed bytes gives an error when it is loaded or when it runs, or it runs.
    #[test]
    fn damaged_models_do_not_panic(
        changes in prop::collection::vec((0usize..4000, any::<u8>()), 1..6),
        cut in prop::option::of(0usize..4000),
    ) {
        let mut bytes = llama();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        let folder = folder("model.onnx", &bytes);
        if let Ok(source) = load(folder.path(), &ort(), None) {
            drop(source.session(&[Prompt::from(&[1, 5][..])]));
        }
    }
}
