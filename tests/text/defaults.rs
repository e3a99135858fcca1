//! The settings of generation that a model's files recommend, compared with transformers.
use std::path::PathBuf;

use eft::candle::{Candle, CandleNn};
use eft::load::{GenerationDefaults, Model};
use eft::{Decoding, Loader, Sampling, TokenId};
use serde_json::{Value, json};

use crate::json;

fn load(config: &Value) -> Model<Candle> {
    let dir = tempfile::tempdir().unwrap();
    let zoo: PathBuf = [env!("CARGO_MANIFEST_DIR"), "zoo", "base-small"].iter().collect();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(zoo.join(file), dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("generation_config.json"), config.to_string()).unwrap();
    Loader::new(dir.path().to_str().unwrap()).load_on(CandleNn::new(Candle::cpu())).unwrap()
}

#[test]
fn texts_are_those_of_transformers() {
    for case in json("defaults/golden.json").as_array().unwrap() {
        let model = load(&case["config"]);
        for text in case["texts"].as_array().unwrap() {
            let prompt = text["prompt"].as_str().unwrap();
            let decoding = model.decoding(prompt).unwrap();
            let mut generation = model.source.generate(prompt, decoding).unwrap();
            let mut ids: Vec<TokenId> = generation.by_ref().map(|token| token.unwrap().id).collect();
            ids.extend(generation.finished().unwrap().tail.iter().map(|token| token.id));
            let expected: Vec<_> =
                text["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect();
            assert_eq!(ids, expected, "{}: {prompt}", case["config"]);
        }
    }
}

fn read(config: &Value) -> Result<GenerationDefaults, eft::load::Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("generation_config.json"), config.to_string()).unwrap();
    GenerationDefaults::read(dir.path()).map(Option::unwrap)
}

#[test]
fn sampling_is_read_as_by_transformers() {
    let sampling = |config: Value| read(&config).unwrap().sampling;
    // Without `do_sample`, the other settings do not count.
    assert_eq!(sampling(json!({"temperature": 0.6, "top_p": 0.9})), Sampling::greedy());
    assert_eq!(sampling(json!({"do_sample": true})), Sampling::default().top_k(50));
    let full = json!({"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.05});
    assert_eq!(sampling(full), Sampling::default().temperature(0.7).top_p(0.8).top_k(20).min_p(0.05));
    let typical = read(&json!({"do_sample": true, "typical_p": 0.9, "top_k": 0})).unwrap();
    assert_eq!((typical.typical_p, typical.to_string().as_str()), (Some(0.9), "temperature 1, typical 0.9"));
    let off = json!({"do_sample": true, "top_p": 1.0, "top_k": 0, "min_p": null});
    assert_eq!(sampling(off), Sampling::default());
    let text = read(&json!({"do_sample": true, "repetition_penalty": 1.1, "num_beams": 4, "typical_p": 1.0}));
    assert_eq!(
        text.unwrap().to_string(),
        "temperature 1, top-k 50, repetition penalty 1.1; not supported: num_beams 4"
    );
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(GenerationDefaults::read(dir.path()).unwrap(), None);
    let model = load(&json!({"temperature": 0.0, "do_sample": true}));
    assert!(model.decoding("The").is_ok_and(|decoding: Decoding| decoding.sampling.is_greedy()));
}

#[test]
fn wrong_values_name_file_and_field() {
    for (field, value) in [
        ("do_sample", json!("yes")),
        ("temperature", json!("hot")),
        ("top_k", json!(-1)),
        ("suppress_tokens", json!([-1])),
        ("max_new_tokens", json!(1.5)),
    ] {
        let mut config = json!({"do_sample": true});
        config[field] = value;
        let error = read(&config).unwrap_err().to_string();
        assert!(error.contains("generation_config.json") && error.contains(field), "{error}");
    }
    assert!(read(&json!([1])).is_err());
}
