//! `tokenizer.json`.
use eft::text::Tokenizer;
use serde_json::{Value, json};

use super::memory::refused;
use super::*;

/// Reads a tokenizer of this content and uses it.
fn error_of(file: &Path, content: &[u8]) -> Result<(), String> {
    std::fs::write(file, content).unwrap();
    let tokenizer = Tokenizer::open(file).map_err(|error| eft::error::with_sources(&error).to_string())?;
    let vocab = tokenizer.vocab("it", 640).map_err(|error| error.to_string())?;
    let ids =
        tokenizer.encode("The  café's \n\n<|end|> 1234 日本", true).map_err(|error| error.to_string())?;
    vocab.decode(&ids);
    Ok(())
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    for name in ["byte-level", "pieces"] {
        let good = std::fs::read_to_string(here(name).join("tokenizer.json")).unwrap();
        assert_eq!(error_of(&path, good.as_bytes()), Ok(()));
        for content in garbled(&good) {
            let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
            std::fs::write(&path, &content).unwrap();
            refused(&path, &shown, &["tokenizer.json"], || error_of(&path, &content));
        }
    }
    let good: Value =
        serde_json::from_slice(&std::fs::read(here("byte-level/tokenizer.json")).unwrap()).unwrap();
    let id = good["added_tokens"][0]["id"].as_u64().unwrap();
    for (pointer, value, word) in [
        ("/version", json!("2.0"), "version"),
        ("/version", json!(1), "version"),
        ("/truncation", json!(5), "truncation"),
        ("/padding", json!([]), "padding"),
        ("/added_tokens", json!(7), "added_tokens"),
        ("/added_tokens", json!({"a": 1}), "added_tokens"),
        ("/added_tokens/1", json!("<s>"), "added_tokens[1]"),
        ("/added_tokens/1", json!({"id": 637}), "added_tokens[1]"),
        ("/added_tokens/1/id", json!(-1), "added_tokens[1]"),
        ("/added_tokens/1/id", json!("637"), "added_tokens[1]"),
        ("/added_tokens/1/id", json!(1u64 << 40), "added_tokens[1]"),
        ("/added_tokens/1/content", json!(5), "added_tokens[1]"),
        ("/added_tokens/1/special", json!("yes"), "added_tokens[1]"),
        ("/normalizer", json!(5), "normalizer"),
        ("/normalizer", json!({"type": "NFZ"}), "normalizer"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""}), "normalizer"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "normalizer"),
        ("/pre_tokenizer", json!("ByteLevel"), "pre_tokenizer"),
        ("/pre_tokenizer", json!({"type": "Sequence"}), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("["), "pre_tokenizer"),
        (
            "/pre_tokenizer/pretokenizers/0/pattern/Regex",
            json!(format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000))),
            "pre_tokenizer",
        ),
        ("/pre_tokenizer/pretokenizers/0/pattern", json!({}), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/0/behavior", json!("isolate"), "pre_tokenizer"),
        ("/post_processor", json!([]), "post_processor"),
        ("/post_processor", json!({"type": "TemplateProcessing", "single": "<s $A"}), "post_processor"),
        ("/decoder", json!({"type": "ByteLevels"}), "decoder"),
        ("/decoder", json!({"type": "WordPiece", "prefix": "@@", "cleanup": true}), "decoder"),
        ("/decoder", json!(1e300), "decoder"),
        ("/model", json!(null), "model"),
        ("/model", json!([]), "model"),
        ("/model", json!({}), "model"),
        ("/model/type", json!("BPEE"), "model"),
        ("/model/vocab", json!(null), "model.vocab"),
        ("/model/vocab", json!(5), "model.vocab"),
        ("/model/vocab", json!({"a": -1}), "model"),
        ("/model/vocab", json!({"a": "b"}), "model"),
        ("/model/vocab", json!({"a": 1u64 << 33}), "model"),
        ("/model/merges", json!(5), "model.merges"),
        ("/model/merges", json!({"a": "b"}), "model.merges"),
        ("/model/merges", json!([["a"]]), "model"),
        ("/model/merges", json!([["nothing", "here"]]), "nothing"),
        ("/model/merges", json!(["nothinghere"]), "model"),
        ("/model/merges/3", json!(7), "model"),
        ("/model/dropout", json!("much"), "model"),
    ] {
        let mut changed = good.clone();
        let part = changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
        *part = value.clone();
        let what: String = format!("{pointer} = {value}").chars().take(200).collect();
        let content = changed.to_string();
        std::fs::write(&path, &content).unwrap();
        refused(&path, &what, &["tokenizer.json", word], || error_of(&path, content.as_bytes()));
    }
    // The ids of a vocabulary are no sizes of memory, and a token may have two of them.
    for changed in [
        good.to_string().replacen(&format!("\"id\":{id}"), "\"id\":4294967295", 1),
        good.to_string().replacen("\"a\":", "\"a\":4000000000,\"b2\":", 1),
        good.to_string().replacen("\"a\":", "\"a\":1,\"a\":", 1),
    ] {
        std::fs::write(&path, &changed).unwrap();
        if let Err(error) = super::memory::bounded(&path, || error_of(&path, changed.as_bytes())) {
            assert!(error.contains("tokenizer.json"), "{error}");
        }
    }
}

/// A merge whose result is longer than any token, at which the library panics.
#[test]
fn a_merge_to_a_token_that_is_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let broken = json!({"model": {"type": "BPE", "vocab": {"aa": 0, "bb": 1}, "merges": [["aa", "bb"]]}});
    let broken = broken.to_string();
    std::fs::write(&path, &broken).unwrap();
    refused(&path, "a merge", &["tokenizer.json", "contradicts itself"], || {
        error_of(&path, broken.as_bytes())
    });
}

#[test]
fn panics_of_the_library_are_not_reported() {
    let test = "mutations::tokenizer_json::a_merge_to_a_token_that_is_too_long";
    let program = std::env::current_exe().unwrap();
    let run = std::process::Command::new(program).args(["--exact", test, "--nocapture"]).output().unwrap();
    let [out, err] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(run.status.success() && out.contains("1 passed"), "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
}
