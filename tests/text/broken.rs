//! Broken files, made by hand and at random: each is an error that names the file, and never a panic.
use std::path::Path;
use std::sync::OnceLock;

use eft::candle::Gguf;
use eft::load::Error;
use eft::models::Error as FileError;
use eft::text::{ChatTemplate, Tokenizer, gguf};
use eft::{Message, Prompt};
use proptest::prelude::*;

use crate::here;
use crate::loading::folder;

fn refused(folder: &Path, words: &[&str]) {
    let error = eft::load(folder.to_str().unwrap()).unwrap_err().to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let with = |name: &str, text: &str, words: &[&str]| {
        let file = folder.join(name);
        let before = std::fs::read(&file).ok();
        std::fs::write(&file, text).unwrap();
        refused(&folder, &[&[name], words].concat());
        match before {
            Some(before) => std::fs::write(&file, before).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
    };
    with("tokenizer.json", "{", &[]);
    with("tokenizer.json", "{}", &[]);
    with("tokenizer_config.json", "[", &[]);
    with("tokenizer_config.json", r#"{"chat_template": 7}"#, &["chat_template"]);
    with("chat_template.jinja", "{% if %}", &["line 1"]);
    with("generation_config.json", r#"{"eos_token_id": "two"}"#, &["eos_token_id", "two"]);
    with("generation_config.json", r#"{"eos_token_id": [2, 1.5]}"#, &["eos_token_id", "1.5"]);
    // The tokenizer of a model with more tokens.
    let other = std::fs::read_to_string(here("byte-level/tokenizer.json")).unwrap();
    with("tokenizer.json", &other, &["token 96", "96 tokens", "another model"]);
    // A merge of tokens that do not exist, and a merge that is longer than any token, at which the library panics.
    let own = std::fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let mut broken: serde_json::Value = serde_json::from_str(&own).unwrap();
    broken["model"]["merges"] = serde_json::json!([["t", "nothing"]]);
    with("tokenizer.json", &broken.to_string(), &["nothing"]);
    broken["model"]["vocab"] = serde_json::json!({"aa": 0, "bb": 1});
    broken["model"]["merges"] = serde_json::json!([["aa", "bb"]]);
    with("tokenizer.json", &broken.to_string(), &["contradicts itself"]);
    broken["model"]["merges"] = serde_json::json!([]);
    broken["model"]["vocab"] = serde_json::json!({"aa": 0, "bb": 4_000_000_000u32});
    with("tokenizer.json", &broken.to_string(), &["4000000000"]);
    assert!(eft::load(folder.to_str().unwrap()).is_ok());

    let template = ChatTemplate::new("it", "{{ raise_exception('Only one message!') }}").unwrap();
    let source = eft::Loader::new(folder.to_str().unwrap()).chat(template).load().unwrap();
    let error = source.generate(Prompt::chat("the"), eft::Sampling::default()).unwrap_err().to_string();
    assert!(error.contains("`llama`") && error.contains("Only one message!"), "{error}");
    let empty = source.render(Prompt::Chat(Vec::new())).unwrap_err().to_string();
    assert!(empty.contains("no messages"), "{empty}");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    refused(&folder, &["model.safetensors"]);
    assert!(matches!(eft::load(here("main.rs").to_str().unwrap()), Err(Error::NotFound { .. })));
}

fn patches(length: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"{}[],:0 9-eE\\u\x00\xFF".to_vec())];
    prop::collection::vec((0..length, byte), 1..8)
}

fn changed(bytes: &[u8], patches: Vec<(usize, u8)>, cut: Option<usize>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    patches.into_iter().for_each(|(at, byte)| bytes[at] = byte);
    bytes.truncate(cut.unwrap_or(bytes.len()));
    bytes
}

const TEXT: &str = "The  café's \n\n<|end|> 1234 日本 \u{0}<tool>";

fn use_it(tokenizer: &Tokenizer) {
    // Encoding may succeed or fail, but must not panic.
    let ids = tokenizer.encode(TEXT, true);
    if let (Ok(ids), Ok(vocab)) = (ids, tokenizer.vocab("it", 640)) {
        vocab.decode(&ids);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_tokenizer_file_makes_it_panic(
        patches in patches(10_000),
        pieces in any::<bool>(),
        cut in prop::option::weighted(0.1, 0usize..10_000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokenizer.json");
        let name = if pieces { "pieces" } else { "byte-level" };
        let bytes = std::fs::read(here(name).join("tokenizer.json")).unwrap();
        std::fs::write(&file, changed(&bytes, patches, cut)).unwrap();
        match Tokenizer::open(&file) {
            Ok(tokenizer) => use_it(&tokenizer),
            Err(error) => prop_assert!(error.to_string().contains("tokenizer.json"), "{error}"),
        }
    }

    #[test]
    fn no_gguf_metadata_makes_it_panic(
        patches in patches(25_000),
        pieces in any::<bool>(),
        cut in prop::option::weighted(0.1, 0usize..25_000),
    ) {
        static BYTES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let read = |name: &str| std::fs::read(here("gguf").join(name)).unwrap();
        let files = BYTES.get_or_init(|| [read("llama-bpe.gguf"), read("pieces.gguf")]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("broken.gguf");
        std::fs::write(&file, changed(&files[usize::from(pieces)], patches, cut)).unwrap();
        let named = |error: FileError| {
            let named = error.to_string().contains("broken.gguf") || matches!(error, FileError::Core(_));
            assert!(named, "{error}");
        };
        match Gguf::open(&file) {
            Ok(opened) => {
                let Some(fields) = opened.tokenizer() else { return Ok(()) };
                gguf::tokenizer(fields).map_or_else(named, |tokenizer| use_it(&tokenizer));
                let template = gguf::template(fields, None).map_err(named).ok().flatten();
                let _ = template.map(|template| template.render(&[Message::new("user", TEXT)]));
            }
            Err(error) => named(error),
        }
    }
}
