//! Loading ONNX files by name. These tests need the library of ONNX Runtime.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use eft::load::{Error, Loader, Warning};
use eft::ort::Ort;
use eft::text::PlainTemplate;
use eft::{Backend, Decoding, Prompt, Sampling, Source};

use crate::hub::Hub;
use crate::loading::folder;

/// The backend. Panics with instructions if the library is missing.
fn ort() -> Ort {
    Ort::cpu().unwrap_or_else(|e| {
        panic!("these tests need ONNX Runtime: {e}; eft-backend-ort/get-onnxruntime gets it")
    })
}

fn exported(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "eft-backend-ort", "goldens", path].iter().collect()
}

/// A folder like that of [`folder`], but with the exported checkpoint instead of its weights.
fn onnx_folder(dir: &Path, family: &str, file: &str) -> PathBuf {
    let folder = folder(dir, family);
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let file = folder.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::copy(exported(family).join("model.onnx"), file).unwrap();
    folder
}

fn loader(path: &Path) -> Loader {
    Loader::new(path.to_str().unwrap())
}

fn load(path: &Path) -> Source<Ort> {
    loader(path).load_onnx(&ort()).unwrap().source
}

fn text<B: Backend>(source: &Source<B>) -> String {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(30);
    source
        .generate(Prompt::chat("the"), decoding)
        .unwrap()
        .text()
        .unwrap()
        .collect::<eft::Result<_>>()
        .unwrap()
}

#[test]
fn onnx_files_load_with_tokenizer_and_template_and_write_what_their_checkpoint_does() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("weights")).unwrap();
    let folder = onnx_folder(dir.path(), "llama", "onnx/model.onnx");
    fs::write(folder.join("generation_config.json"), r#"{"eos_token_id": [2, 93]}"#).unwrap();
    let weights = self::folder(&dir.path().join("weights"), "llama");
    fs::copy(folder.join("generation_config.json"), weights.join("generation_config.json")).unwrap();
    let weights = eft::load(weights.to_str().unwrap()).unwrap();
    for path in [folder.clone(), folder.join("onnx"), folder.join("onnx/model.onnx")] {
        let source = load(&path);
        assert_eq!(source.name(), "llama");
        assert_eq!(source.stop_ids(), weights.stop_ids());
        let chat = Prompt::chat("the");
        assert_eq!(source.render(&chat).unwrap(), weights.render(&chat).unwrap());
        assert_eq!(text(&source), text(&weights));
    }
    let named = loader(&folder).named("tiny").plain(PlainTemplate::default()).load_onnx(&ort()).unwrap();
    assert_eq!(named.source.name(), "tiny");
    assert!(named.renderer.is_some());
    let upscaled = load(&folder) + (named.source - load(&folder));
    upscaled.check().unwrap();
}

#[test]
fn without_a_tokenizer_token_ids_are_taken() {
    let source = load(&exported("llama"));
    assert!(source.render([1, 2]).is_ok());
    assert!(matches!(source.render("the"), Err(eft::Error::CannotRender { .. })));
}

#[test]
fn a_model_with_an_inexact_cache_is_loaded_with_a_warning() {
    let findings = |path: &str| {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let collected = warnings.clone();
        let loader = loader(&exported(path)).named("mine");
        let loader = loader.on_warning(move |warning| collected.lock().unwrap().push(warning.clone()));
        loader.load_onnx(&ort()).unwrap();
        let mut warnings = warnings.lock().unwrap().clone();
        // Reported by whichever test loads a model first.
        warnings.retain(|warning| *warning != Warning::Unoptimised);
        warnings
    };
    assert_eq!(findings("broken/sound.onnx"), []);
    let found = findings("broken/drifting.onnx");
    let [warning @ Warning::Suspect { model, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(model, "mine");
    let message = warning.to_string();
    assert!(message.starts_with("`mine` may be wrong: logits over the cache differ"), "{message}");
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = onnx_folder(dir.path(), "llama", "model.onnx");
    let error = |loader: Loader| loader.load_onnx(&ort()).unwrap_err();
    let adapter = error(loader(&folder).adapter("poet", "nowhere")).to_string();
    assert!(adapter.contains("llama` as an ONNX file") && adapter.contains("`poet`"), "{adapter}");
    let nothing = error(Loader::new("no-such-folder"));
    assert!(matches!(nothing, Error::NotFound { .. }), "{nothing}");
    let empty = error(loader(&folder.join("..")));
    assert!(matches!(&empty, Error::Onnx(_)) && empty.to_string().contains("onnx/model.onnx"), "{empty}");
    let id = "generation_config.json";
    fs::write(folder.join(id), r#"{"eos_token_id": 1000}"#).unwrap();
    // A file in use may have an id past the vocabulary, which is ignored.
    assert!(loader(&folder).load_onnx(&ort()).is_ok());
    // An ONNX file where weights are expected.
    let weights = loader(&folder.join("model.onnx")).load().unwrap_err().to_string();
    assert!(weights.contains("load_onnx"), "{weights}");
}

/// The files of a repository as onnx-community lays it out, with the weights in a separate file.
fn files() -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "qwen2");
    let mut files = BTreeMap::new();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        files.insert(name.to_owned(), fs::read(folder.join(name)).unwrap());
    }
    for name in ["onnx/model.onnx", "onnx/model.onnx_data"] {
        files.insert(name.to_owned(), fs::read(exported("qwen2").join(name)).unwrap());
    }
    files.insert("onnx/model_q4f16.onnx".into(), b"not needed".into());
    files
}

#[test]
fn models_of_the_hub_are_fetched_with_their_data_and_load_offline() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::new(files());
    let loader = hub.loader("org/tiny", dir.path());
    let source = loader.load_onnx(&ort()).unwrap().source;
    assert_eq!(source.name(), "org/tiny");
    assert!(source.render(Prompt::chat("the")).is_ok());
    let asked = hub.asked();
    assert!(asked.iter().any(|path| path.ends_with("onnx/model.onnx_data")), "{asked:?}");
    assert!(asked.iter().all(|path| !path.contains("model_q4f16")), "{asked:?}");
    let written = text(&source);
    assert_eq!(text(&loader.clone().offline().load_onnx(&ort()).unwrap().source), written);
    assert!(hub.asked().is_empty());
    let named = hub.loader("org/tiny:onnx/model.onnx", dir.path()).load_onnx(&ort()).unwrap().source;
    assert_eq!(text(&named), written);
}

#[test]
fn missing_files_are_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let error = |files: BTreeMap<String, Vec<u8>>, name: &str, cache: &str| {
        let hub = Hub::new(files);
        let error = hub.loader(name, &dir.path().join(cache)).load_onnx(&ort()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let mut without = files();
    without.remove("onnx/model.onnx");
    let none = error(without, "org/tiny", "none");
    assert!(none.contains("model_q4f16.onnx") && none.contains("decoder_model_merged.onnx"), "{none}");
    let mut without = files();
    without.remove("onnx/model.onnx_data");
    let lone = error(without, "org/tiny", "lone");
    assert!(lone.contains("onnx/model.onnx_data") && lone.contains("404"), "{lone}");

    let mut escaping = files();
    let graph = escaping.get_mut("onnx/model.onnx").unwrap();
    let (from, to) = (b"model.onnx_data", b"../el.onnx_data");
    let places: Vec<_> = (0..graph.len() - from.len()).filter(|at| graph[*at..].starts_with(from)).collect();
    places.into_iter().for_each(|at| graph[at..at + to.len()].copy_from_slice(to));
    let escaping = error(escaping, "org/tiny", "escaping");
    assert!(escaping.contains("outside its folder"), "{escaping}");

    let gguf = error(files(), "org/tiny:model.gguf", "gguf");
    assert!(gguf.contains("is not an ONNX file"), "{gguf}");
    let hub = Hub::new(files());
    let weights = hub.loader("org/tiny:onnx/model.onnx", dir.path()).load().unwrap_err().to_string();
    assert!(weights.contains("load_onnx"), "{weights}");
}
