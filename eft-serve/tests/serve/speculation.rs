//! Speculative decoding while few texts run, and what the metrics say of it and of the caches.
use std::thread;

use eft::candle::WeightType;
use eft_serve::{Config, Server};
use serde_json::{Value, json};

use crate::http::{metric, post};
use crate::zoo;

fn server(rows: usize) -> (Server, String) {
    let mut config = zoo();
    config.speculation.rows = rows;
    start(config)
}

/// A server on which a copy of the tuned model drafts, with fewer bits.
fn server_with_a_copy() -> (Server, String) {
    let mut config = zoo();
    let mut copy = config.models["tuned"].clone();
    copy.weight_type = Some(WeightType::Q4_0);
    config.models.insert("copy".into(), copy);
    config.speculation.draft = Some("copy".into());
    start(config)
}

fn start(config: Config) -> (Server, String) {
    let server = Server::start(&config).unwrap();
    let url = format!("http://{}", server.address());
    (server, url)
}

fn request(index: usize) -> Value {
    let names = ["Ada Brook", "Nora Abbot", "Olga Lane", "Ivo Marsh"];
    let temperature = [0.0, 0.8, 1.4][index % 3];
    let mut body = json!({
        "model": "eft", "prompt": format!("Question: Where does {} live?\nAnswer:", names[index % 4]),
        "seed": index, "temperature": temperature, "max_tokens": 6 + 5 * index, "logprobs": 2,
    });
    match index % 5 {
        1 => body["stop"] = json!("e"),
        2 => body["n"] = json!(2),
        3 => body["frequency_penalty"] = json!(0.8),
        4 => body["eft"] = json!({"attribution": true}),
        _ => {}
    }
    body
}

/// Texts, tokens, and why they ended.
fn texts(answer: &Value) -> Vec<Value> {
    let choices = answer["choices"].as_array().unwrap().iter();
    let shown =
        |choice: &Value| json!([choice["text"], choice["finish_reason"], choice["logprobs"]["tokens"]]);
    choices.map(shown).collect()
}

fn log_probs(answer: &Value) -> Vec<f64> {
    let choices = answer["choices"].as_array().unwrap().iter();
    let of_choice = |choice: &Value| choice["logprobs"]["token_logprobs"].as_array().unwrap().clone();
    choices.flat_map(of_choice).map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn texts_are_the_same_with_speculation_and_without() {
    let ((_plain, plain), (_few, few), (_all, all)) = (server(0), server(2), server(1000));
    let (_copy, copy) = server_with_a_copy();
    let requests: Vec<_> = (0..10).map(request).collect();
    let ask = |url: &str, body: &Value| post(&format!("{url}/v1/completions"), body.clone()).ok();
    let expected: Vec<_> = requests.iter().map(|body| ask(&plain, body)).collect();
    for url in [&few, &all, &copy] {
        // Alone, and with others that come and go.
        let alone: Vec<_> = requests.iter().map(|body| ask(url, body)).collect();
        let together: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = requests.iter().map(|body| scope.spawn(|| ask(url, body))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        for (index, (expected, got)) in
            expected.iter().chain(&expected).zip(alone.iter().chain(&together)).enumerate()
        {
            assert_eq!(texts(got), texts(expected), "{index}");
            for (got, expected) in log_probs(got).into_iter().zip(log_probs(expected)) {
                assert!((got - expected).abs() < 1e-3, "{index}: {got} {expected}");
            }
        }
        let (drafted, accepted) =
            (metric(url, "eft_drafted_tokens_total"), metric(url, "eft_accepted_tokens_total"));
        assert!(0.0 < accepted && accepted <= drafted, "{accepted} of {drafted}");
    }
    assert_eq!(metric(&plain, "eft_drafted_tokens_total"), 0.0);
}

#[test]
fn a_copy_drafts_for_the_model_of_its_path() {
    let ((_own, own), (_copy, copy)) = (server(2), server_with_a_copy());
    let ask = |url: &str, model: &str| {
        let prompt = "Question: Where does Ada Brook live?\nAnswer:";
        let body = json!({"model": model, "prompt": prompt, "temperature": 0, "logprobs": 1});
        post(&format!("{url}/v1/completions"), body).ok()
    };
    let drafted = |url: &str| metric(url, "eft_drafted_tokens_total");
    let tuned = ask(&own, "tuned");
    assert_eq!(drafted(&own), 0.0, "a single model has no term that could draft for it");
    assert_eq!(ask(&copy, "large")["choices"][0]["text"], ask(&own, "large")["choices"][0]["text"]);
    assert_eq!(drafted(&copy), 0.0, "the copy is not one of the large model");
    assert_ne!(log_probs(&ask(&copy, "copy")), log_probs(&tuned), "the copy has other weights");
    assert_eq!(drafted(&copy), 0.0);
    assert_eq!(texts(&ask(&copy, "tuned")), texts(&tuned));
    assert!(drafted(&copy) > 0.0);
}

#[test]
fn the_next_turn_of_a_chat_is_taken_from_the_cache() {
    let (_server, url) = server(2);
    let mut messages = vec![json!({"role": "user", "content": "Where does Ada Brook live?"})];
    let ask = |messages: &[Value]| {
        let body = json!({"model": "large", "messages": messages, "temperature": 0, "max_tokens": 20});
        post(&format!("{url}/v1/chat/completions"), body).ok()
    };
    let first = ask(&messages);
    let length = |answer: &Value| answer["usage"]["prompt_tokens"].as_f64().unwrap();
    let counted =
        || (metric(&url, "eft_prompt_tokens_read_total"), metric(&url, "eft_prompt_tokens_cached_total"));
    let (read, cached) = counted();
    assert_eq!(read + cached, length(&first));
    assert!(cached <= 1.0, "there is nothing in the cache but one token");
    messages.push(first["choices"][0]["message"].clone());
    messages.push(json!({"role": "user", "content": "Where does Nora Abbot live?"}));
    let second = ask(&messages);
    let (read, cached) = counted();
    assert_eq!(read + cached, length(&first) + length(&second));
    // All of the first prompt but what the template writes at its end.
    assert!(cached > length(&first) / 2.0, "{cached} of {}", length(&second));
}
