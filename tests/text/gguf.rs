//! Tokenizers of GGUF files, compared with llama.cpp.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft::candle::Gguf;
use eft::candle::gguf::{TokenKind, TokenizerFields};
use eft::decode::Detokenizer;
use eft::models::Error;
use eft::text::{Tokenizer, gguf};
use eft::{Prompt, TokenId};
use serde_json::Value;

use crate::{here, json};

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

fn read(file: &Path) -> Result<Tokenizer, Error> {
    gguf::tokenizer(Gguf::open(file)?.tokenizer().unwrap())
}

/// Compares the ids of some texts with llama.cpp's, and decodes them.
fn check(file: &Path, cases: &Value) {
    let tokenizer = read(file).unwrap();
    let vocab = Gguf::open(file).unwrap().vocab().unwrap().clone();
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let name = file.file_name().unwrap();
        let bare = tokenizer.encode(text, false).unwrap();
        // Where transformers and llama.cpp differ, one of them is wrong: transformers does not split SmolLM's digits,
        // and llama.cpp takes Qwen's ordinary `</s>` for a special token.
        let others = case.get("transformers").map(ids).filter(|others| *others != ids(&case["bare"]));
        if let Some(others) = others {
            println!("{name:?}: transformers and llama.cpp differ on {text:?}");
            assert!(bare == others || bare == ids(&case["bare"]), "{name:?}: {text:?}");
            continue;
        }
        assert_eq!(bare, ids(&case["bare"]), "{name:?}: {text:?}");
        if !text.starts_with('<') {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&case["whole"]), "{name:?}: {text:?}");
        }
        // The file's vocabulary and the tokenizer's are the same.
        let own = Arc::new(tokenizer.vocab("own", vocab.width()).unwrap());
        assert!(own.relation(&vocab).unwrap().renamed.is_empty());
        if !text.contains("<|") && !text.contains("<s>") {
            let mut detokenizer = Detokenizer::new(own);
            let mut decoded: String = ids(&case["bare"]).iter().map(|id| detokenizer.push(*id)).collect();
            decoded.push_str(&detokenizer.finish());
            let text = if decoded.starts_with(' ') && !text.starts_with(' ') {
                format!(" {text}")
            } else {
                text.into()
            };
            assert!(decoded == text || decoded == format!(" {text}"), "{name:?}: {decoded:?} of {text:?}");
        }
    }
}

#[test]
fn tiny_files_tokenize_like_llama_cpp() {
    for name in ["gpt-2", "smollm", "qwen2", "llama-bpe", "dbrx", "pieces", "pieces-no-space"] {
        check(&here(&format!("gguf/{name}.gguf")), &json(&format!("gguf/{name}.json")));
    }
}

/// Tokenizers that change the text before they cut it, so that the ids do not give it back.
#[test]
fn unigrams_and_word_pieces_are_those_of_llama_cpp() {
    for name in ["pieces-merged", "unigram", "unigram-spaces", "word-piece", "word-piece-cased"] {
        let file = here(&format!("gguf/{name}.gguf"));
        let (tokenizer, vocab) = (read(&file).unwrap(), Gguf::open(&file).unwrap().vocab().unwrap().clone());
        for case in json(&format!("gguf/{name}.json")).as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&case["bare"]), "{name}: {text:?}");
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&case["whole"]), "{name}: {text:?}");
        }
        let own = Arc::new(tokenizer.vocab("own", vocab.width()).unwrap());
        assert!(own.relation(&vocab).unwrap().renamed.is_empty(), "{name}");
        let mut detokenizer = Detokenizer::new(own);
        let words = tokenizer.encode("the queen of hearts", false).unwrap();
        let mut decoded: String = words.iter().map(|id| detokenizer.push(*id)).collect();
        decoded.push_str(&detokenizer.finish());
        assert_eq!(decoded.trim_start(), "the queen of hearts", "{name}");
    }
}

/// With a token for each byte, a unigram model has no unknown text.
#[test]
fn unigrams_fall_back_to_bytes() {
    let gguf = Gguf::open(here("gguf/unigram.gguf")).unwrap();
    let unknown = gguf.tokenizer().unwrap().unknown.unwrap();
    let encoded = |fields: &TokenizerFields| gguf::tokenizer(fields).unwrap().encode("日a", false).unwrap();
    let mut fields = gguf.tokenizer().unwrap().clone();
    assert!(encoded(&fields).contains(&unknown));
    let first = fields.tokens.len() as TokenId;
    for byte in 0..=255u8 {
        fields.tokens.push(&format!("<0x{byte:02X}>"));
        fields.kinds.push(TokenKind::Byte);
        fields.scores.push(0.0);
    }
    let ids = encoded(&fields);
    let bytes: Vec<_> = ids.iter().filter(|id| **id >= first).map(|id| (*id - first) as u8).collect();
    assert_eq!(bytes, "日".as_bytes());
    assert!(!ids.contains(&unknown));
}

#[test]
fn kinds_that_are_not_supported_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["rwkv", "what"] {
        // Of the same length as the kind of the file.
        let other =
            patched(dir.path(), "gpt-2", "\u{4}\0\0\0\0\0\0\0gpt2", &format!("\u{4}\0\0\0\0\0\0\0{kind}"));
        let warnings = crate::loading::warnings(eft::Loader::new(other.to_str().unwrap()));
        let named = |warning: &String| warning.contains("tokenizer.ggml.model") && warning.contains(kind);
        assert!(warnings.iter().any(named), "{warnings:?}");
        // The model takes token ids.
        let source = eft::load(other.to_str().unwrap()).unwrap();
        assert!(source.render([1]).is_ok() && source.render("the").is_err());
    }
}

/// The number of merges that `make.py` leaves out for the golden ids of words.
const LEFT_OUT: usize = 100;

#[test]
fn words_are_split_as_by_llama_cpp() {
    let gguf = Gguf::open(here("gguf/gpt-2.gguf")).unwrap();
    let golden = json("gguf/words.json");
    let (mut differing, mut compared) = (Vec::new(), 0);
    for (name, cases) in golden.as_object().unwrap() {
        let mut fields = gguf.tokenizer().unwrap().clone();
        fields.pre = (!name.is_empty()).then(|| name.clone());
        fields.merges.truncate(fields.merges.len() - LEFT_OUT);
        let tokenizer = gguf::tokenizer(&fields).unwrap();
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            compared += 1;
            let differs =
                |whole, expected: &str| tokenizer.encode(text, whole).unwrap() != ids(&case[expected]);
            // A special token that begins a text is not repeated.
            if differs(false, "bare") || (!text.starts_with('<') && differs(true, "whole")) {
                differing.push((name.as_str(), text));
            }
        }
    }
    println!("{compared} texts; of these differ: {differing:?}");
    // Where a text of marks and foreign letters differs, llama.cpp approximates the model's own expression.
    let known = |(name, text): &(&str, &str)| APPROXIMATED.contains(name) && !text.is_ascii();
    differing.retain(|case| !known(case));
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Rules for which llama.cpp adapts the expressions of the models' own tokenizers to its engine.
const APPROXIMATED: [&str; 4] = ["tekken", "gpt-4o", "minimax-m2", "qwen2"];

#[test]
fn files_load_with_tokenizer_and_template() {
    let file = here("gguf/llama-bpe.gguf");
    let source = eft::load(file.to_str().unwrap()).unwrap();
    assert_eq!(source.name(), "llama-bpe");
    let chat = source.render(Prompt::chat("the")).unwrap();
    let [user, end] = ["<|user|>", "<|end|>"].map(|token| read(&file).unwrap().id(token).unwrap());
    assert_eq!((chat[0], chat[chat.len() - 1]), (user, end));
    assert_eq!(source.stop_ids().into_iter().collect::<Vec<_>>(), [end]);
}

/// Writes a copy of a file in which one text is replaced by another of the same length.
fn patched(dir: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(here(&format!("gguf/{name}.gguf"))).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    let file = dir.join("patched.gguf");
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn unsupported_and_missing_fields_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let unknown = patched(dir.path(), "llama-bpe", "llama-bpe", "my-tokens");
    let error = eft::load(unknown.to_str().unwrap()).unwrap_err().to_string();
    for word in ["patched.gguf", "tokenizer.ggml.pre", "`my-tokens`", "llama-bpe"] {
        assert!(error.contains(word), "{error}");
    }
    // With another tokenizer, the file can be loaded.
    let loader = eft::Loader::new(unknown.to_str().unwrap()).tokenizer(here("byte-level/tokenizer.json"));
    assert!(loader.load().unwrap().render("the").is_ok());

    for (from, to, field) in [
        ("tokenizer.ggml.scores", "tokenizer.ggml.scorex", "tokenizer.ggml.scores"),
        ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.bos_token_ix", "tokenizer.ggml.bos_token_id"),
    ] {
        let error = read(&patched(dir.path(), "pieces", from, to)).unwrap_err();
        assert!(matches!(&error, Error::Config { field: f, .. } if f == field), "{error}");
    }
    // Without a name, the rule is llama.cpp's default, and there is a warning.
    let missing = patched(dir.path(), "gpt-2", "tokenizer.ggml.pre", "tokenizer.ggml.prx");
    let warnings = crate::loading::warnings(eft::Loader::new(missing.to_str().unwrap()));
    assert!(warnings.len() == 1 && warnings[0].contains("`tokenizer.ggml.pre` is missing"), "{warnings:?}");
    let merges = patched(dir.path(), "gpt-2", "Ġ t", "Ġ ~");
    assert!(matches!(read(&merges), Err(Error::Config { field, .. }) if field == "tokenizer.ggml.merges"));
    let named = eft::Loader::new(unknown.to_str().unwrap()).tokenizer(here("byte-level/tokenizer.json"));
    let error = named.chat_named("tools").load().unwrap_err().to_string();
    assert!(error.contains("tokenizer.chat_template") && error.contains("`tools`"), "{error}");
    let none = patched(dir.path(), "gpt-2", "tokenizer.ggml.model", "tokenizer.ggml.modex");
    let source = eft::load(none.to_str().unwrap()).unwrap();
    assert!(source.render([1]).is_ok() && source.render("the").is_err());
}

/// Real files, in the folder that `EFT_MODELS` names. `make.py` writes the expected ids.
#[test]
fn real_files_tokenize_like_llama_cpp() {
    let Some(folder) = std::env::var_os("EFT_MODELS") else {
        println!("SKIPPED: EFT_MODELS is not set");
        return;
    };
    for entry in std::fs::read_dir(folder).unwrap() {
        let golden = entry.unwrap().path();
        let Some(file) = golden.to_str().and_then(|name| name.strip_suffix(".tokens.json")) else { continue };
        let cases: Value = serde_json::from_slice(&std::fs::read(&golden).unwrap()).unwrap();
        check(Path::new(file), &cases);
        println!("{file}: {} texts", cases.as_array().unwrap().len());
    }
}
