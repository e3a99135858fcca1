//! A combination whose large model is on a real llama-server, if `EFT_LLAMA_SERVER` names the program: see the script
//! `eft-backend-remote/get-llama-server`.
use std::path::Path;

use eft_serve::Server;
use eft_serve::config::ModelConfig;
use serde_json::{Value, json};

use crate::http::post;
use crate::process::{Process, program};
use crate::zoo;

#[test]
fn a_large_model_on_a_server_is_part_of_a_combination() {
    let Some(program) = program("EFT_LLAMA_SERVER") else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/gguf/base-large-f16.gguf");
    let (_process, address) = Process::llama_server(&program, &file);

    let mut config = zoo();
    config.models.insert("large".into(), ModelConfig::new(file.to_string_lossy()));
    let local = Server::start(&config).unwrap();
    let mut large = ModelConfig::new(address);
    large.tokenizer = Some("small".into());
    config.models.insert("large".into(), large);
    let remote = Server::start(&config).unwrap();

    let ask = |server: &Server, body: &Value| {
        post(&format!("http://{}/v1/chat/completions", server.address()), body.clone()).ok()
    };
    let names = ["Ada Brook", "Nora Abbot", "Olga Lane", "Ivo Marsh"];
    let requests = names.map(|name| {
        let messages = json!([{"role": "user", "content": format!("Where does {name} live?")}]);
        json!({"model": "eft", "messages": messages, "temperature": 0, "max_tokens": 24, "logprobs": true})
    });
    // All at once, and the same texts as with the model of the same file by candle.
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = requests.iter().map(|body| scope.spawn(|| ask(&remote, body))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (body, got) in requests.iter().zip(&answers) {
        let expected = ask(&local, body);
        let (got, expected) = (&got["choices"][0], &expected["choices"][0]);
        assert_eq!(got["message"], expected["message"]);
        assert_eq!(got["finish_reason"], "stop");
        let log_probs = |choice: &Value| {
            let tokens = choice["logprobs"]["content"].as_array().unwrap().iter();
            tokens.map(|token| token["logprob"].as_f64().unwrap()).collect::<Vec<_>>()
        };
        for (got, expected) in log_probs(got).into_iter().zip(log_probs(expected)) {
            // llama.cpp multiplies weights in f16 in f16.
            assert!((got - expected).abs() < 0.05, "{got} {expected}");
        }
    }
    // Another weight, and log-probs of a text that is given.
    let mut other = requests[0].clone();
    other["eft"] = json!({"alpha": 0});
    assert_ne!(ask(&remote, &other)["choices"][0]["message"], answers[0]["choices"][0]["message"]);
    let score = json!({"model": "eft", "prompt": "Where does Ada Brook live?", "echo": true, "logprobs": 0, "max_tokens": 0});
    let scored = |server: &Server| {
        let answer = post(&format!("http://{}/v1/completions", server.address()), score.clone()).ok();
        let log_probs = answer["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap()[1..].to_vec();
        log_probs.iter().map(|number| number.as_f64().unwrap()).sum::<f64>()
    };
    assert!((scored(&remote) - scored(&local)).abs() < 0.2, "{} {}", scored(&remote), scored(&local));
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let mut config = zoo();
    let mut large = ModelConfig::new("http://127.0.0.1:9");
    large.tokenizer = Some("small".into());
    config.models.insert("large".into(), large);
    let Err(error) = Server::start(&config) else { panic!("a server that cannot be reached is used") };
    let error = format!("{error:#}");
    assert!(error.contains("`large`") && error.contains("127.0.0.1:9"), "{error}");
}
