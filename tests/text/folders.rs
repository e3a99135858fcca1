//! The files beside a `tokenizer.json`, compared with transformers.
use std::path::Path;

use eft::models::Error;
use eft::text::{ChatTemplate, Tokenizer};
use eft::{Message, TokenId};
use serde_json::{Value, json};

use crate::{here, json};

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

/// The tokenizer of the folder `small` without some of its added tokens.
pub(crate) fn without(dropped: &[TokenId]) -> Value {
    let mut parts = json("small/tokenizer.json");
    let added = parts["added_tokens"].as_array_mut().unwrap();
    let is_dropped = |token: &Value| dropped.contains(&(token["id"].as_u64().unwrap() as TokenId));
    let spellings: Vec<_> = added
        .iter()
        .filter(|token| is_dropped(token))
        .map(|t| t["content"].as_str().unwrap().to_owned())
        .collect();
    added.retain(|token| !is_dropped(token));
    let vocab = parts["model"]["vocab"].as_object_mut().unwrap();
    vocab.retain(|token, _| !spellings.contains(token));
    parts
}

fn write(folder: &Path, dropped: &[TokenId], files: &Value) {
    let all = [("tokenizer.json".to_owned(), without(dropped))].into_iter();
    for (name, content) in all.chain(files.as_object().unwrap().clone()) {
        std::fs::write(folder.join(name), content.to_string()).unwrap();
    }
}

#[test]
fn tokens_and_roles_are_those_of_transformers() {
    for case in json("folders/golden.json").as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &ids(&case["dropped"]), &case["files"]);
        let tokenizer = Tokenizer::read(dir.path()).unwrap().unwrap();
        for text in case["texts"].as_array().unwrap() {
            let spelled = text["text"].as_str().unwrap();
            for (kind, whole) in [("bare", false), ("whole", true)] {
                assert_eq!(
                    tokenizer.encode(spelled, whole).unwrap(),
                    ids(&text[kind]),
                    "{name}, {kind}: {spelled:?}"
                );
            }
        }
        let vocab = tokenizer.vocab(name, 96).unwrap();
        let special: Vec<_> = (0..96).filter(|id| vocab.is_special(*id)).collect();
        let expected: Vec<_> = ids(&case["special"]).into_iter().filter(|id| *id < 96).collect();
        assert_eq!(special, expected, "{name}");
        let template = ChatTemplate::read(dir.path(), None).unwrap();
        let prompt = template.map(|template| template.render(&[Message::new("user", "the")]).unwrap());
        assert_eq!(prompt.as_deref(), case["prompt"].as_str(), "{name}");
    }
}

#[test]
fn invalid_descriptions_of_tokens_name_file_and_field() {
    let token = json!({"content": "<|im_end|>", "special": true});
    let config = |field: &str, value: Value| json!({"tokenizer_config.json": {field: value}});
    let cases = [
        (config("added_tokens_decoder", json!([1])), "tokenizer_config.json", "added_tokens_decoder"),
        (
            config("added_tokens_decoder", json!({"x": token})),
            "tokenizer_config.json",
            "added_tokens_decoder",
        ),
        (config("added_tokens_decoder", json!({"94": 7})), "tokenizer_config.json", "added_tokens_decoder"),
        // The next free id is 94.
        (
            config("added_tokens_decoder", json!({"97": token})),
            "tokenizer_config.json",
            "added_tokens_decoder",
        ),
        (json!({"added_tokens.json": {"<|im_end|>": -1}}), "added_tokens.json", "<|im_end|>"),
        (json!({"added_tokens.json": {"<|im_end|>": 99}}), "added_tokens.json", "token ids"),
    ];
    for (files, file, field) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[94, 95], &files);
        match Tokenizer::read(dir.path()) {
            Err(Error::Config { file: found, field: at, .. }) => {
                assert_eq!((found.file_name().unwrap().to_str().unwrap(), &*at), (file, field), "{files}");
            }
            other => panic!("{files}: {other:?}"),
        }
    }
    for file in ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[], &json!({file: [1]}));
        let error = Tokenizer::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
    assert!(Tokenizer::read(here("templates")).unwrap().is_none());
}
