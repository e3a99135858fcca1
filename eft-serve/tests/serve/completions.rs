//! Completions, and the log-probs of texts that are given.
use eft::Prompt;
use serde_json::{Value, json};

use crate::http::post;
use crate::shared;

const PROMPT: &str = "Question: Where does Ada Brook live?\nAnswer:";

fn complete(more: Value) -> Value {
    let mut body = json!({"model": "large", "prompt": PROMPT, "temperature": 0, "max_tokens": 8});
    more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    body
}

fn url() -> String {
    format!("{}/v1/completions", shared())
}

fn ids(text: &str) -> Vec<u64> {
    let answer = post(&format!("{}/tokenize", shared()), json!({"prompt": text})).ok();
    answer["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn prompts_come_as_text_or_ids_alone_or_in_lists() {
    let of = |prompt: Value| -> Vec<String> {
        let answer = post(&url(), complete(json!({"prompt": prompt}))).ok();
        let choices = answer["choices"].as_array().unwrap();
        let in_order = choices.iter().enumerate().all(|(index, choice)| choice["index"] == index);
        assert!(in_order);
        choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
    };
    let (first, second) = (of(json!(PROMPT)), of(json!("Who")));
    assert_eq!(of(json!(ids(PROMPT))), first);
    assert_eq!(of(json!([PROMPT, "Who"])), [first.clone(), second.clone()].concat());
    assert_eq!(of(json!([ids(PROMPT), ids("Who")])), [first, second].concat());
    assert_eq!(post(&url(), complete(json!({"prompt": []}))).refused(400), "prompt");
    assert_eq!(post(&url(), complete(json!({"prompt": [[]]}))).refused(400), "prompt");
    assert_eq!(post(&url(), complete(json!({"prompt": {"a": 1}}))).refused(400), "prompt");
    let long = post(&url(), complete(json!({"prompt": "word ".repeat(2000)})));
    long.refused(400);
    assert_eq!(long.json()["error"]["code"], "context_length_exceeded", "{}", long.text);
}

#[test]
fn echoed_log_probs_are_the_scores_of_the_library() {
    let tokens = ids(PROMPT);
    let asked = json!({"model": "eft", "prompt": tokens, "echo": true, "logprobs": 2, "max_tokens": 1});
    let answer = post(&url(), complete(asked)).ok();
    let reported = &answer["choices"][0]["logprobs"];
    let log_probs = reported["token_logprobs"].as_array().unwrap();
    assert_eq!(log_probs.len(), tokens.len() + 1);
    assert_eq!(log_probs[0], Value::Null);

    let load = |name: &str| eft::load(format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let source = load("base-large") + (load("tuned-small") - load("base-small"));
    let tokens: Vec<u32> = tokens.iter().map(|id| *id as u32).collect();
    let scored = source.score(Prompt::from([tokens[0]]), &tokens[1..]).unwrap();
    for (reported, expected) in log_probs[1..].iter().zip(&scored.tokens) {
        assert!((reported.as_f64().unwrap() - f64::from(*expected)).abs() < 1e-4);
    }
    for (top, log_prob) in reported["top_logprobs"].as_array().unwrap().iter().zip(log_probs).skip(1) {
        let best =
            top.as_object().unwrap().values().map(|value| value.as_f64().unwrap()).fold(f64::MIN, f64::max);
        assert!(best >= log_prob.as_f64().unwrap());
        assert!(top.as_object().unwrap().len() >= 2);
    }
    let text = answer["choices"][0]["text"].as_str().unwrap();
    let offsets = reported["text_offset"].as_array().unwrap();
    for (offset, token) in offsets.iter().zip(reported["tokens"].as_array().unwrap()).skip(1) {
        let rest: String = text.chars().skip(offset.as_u64().unwrap() as usize).collect();
        assert!(rest.starts_with(token.as_str().unwrap()), "{rest:?} {token}");
    }
}

/// lm-eval takes all but the last log-prob for those of the prompt.
#[test]
fn a_token_that_ends_the_text_at_once_is_reported() {
    let tokens = ids("Question: Where does Ada Brook live?\nAnswer: In Norby.");
    let asked = json!({"model": "eft", "prompt": tokens, "echo": true, "logprobs": 1, "max_tokens": 1});
    let answer = post(&url(), complete(asked)).ok();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let reported = choice["logprobs"]["tokens"].as_array().unwrap();
    assert_eq!((reported.len(), reported.last().unwrap()), (tokens.len() + 1, &json!("<|end|>")));

    let more = json!({"model": "eft", "logprobs": 0, "max_tokens": 20});
    let whole = post(&url(), complete(more.clone())).ok();
    let mut streamed = complete(more);
    streamed["stream"] = json!(true);
    let parts = post(&url(), streamed).parts();
    let of_parts = parts.iter().filter_map(|part| part["choices"][0]["logprobs"]["tokens"].as_array());
    let of_parts: Vec<_> = of_parts.flatten().cloned().collect();
    assert_eq!(Value::from(of_parts), whole["choices"][0]["logprobs"]["tokens"]);
}

#[test]
fn a_prompt_is_echoed_without_a_text() {
    let only = post(&url(), complete(json!({"echo": true, "max_tokens": 0, "logprobs": 0}))).ok();
    assert_eq!(only["choices"][0]["text"], PROMPT);
    assert_eq!(only["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), ids(PROMPT).len());
    assert_eq!(only["usage"]["completion_tokens"], 0);

    let whole = post(&url(), complete(json!({"echo": true}))).ok();
    let parts = post(&url(), complete(json!({"echo": true, "stream": true}))).parts();
    let joined: String = parts.iter().map(|part| part["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(whole["choices"][0]["text"], joined);
    assert!(joined.starts_with(PROMPT));
    assert_eq!(post(&url(), complete(json!({"max_tokens": 0}))).refused(400), "max_tokens");
}

#[test]
fn the_log_probs_of_a_prompt_are_streamed() {
    let several = json!({"n": 2, "temperature": 1, "seed": 3, "prompt": [ids(PROMPT), [5]]});
    for mut more in [several, json!({"max_tokens": 0, "prompt": [[5], ids(PROMPT)]}), json!({})] {
        (more["echo"], more["logprobs"]) = (json!(true), json!(2));
        let whole = post(&url(), complete(more.clone())).ok();
        let mut streamed = complete(more);
        streamed["stream"] = json!(true);
        let parts = post(&url(), streamed).parts();
        for choice in whole["choices"].as_array().unwrap() {
            let of_choice =
                || parts.iter().map(|part| &part["choices"][0]).filter(|c| c["index"] == choice["index"]);
            let text: String = of_choice().map(|part| part["text"].as_str().unwrap()).collect();
            assert_eq!(choice["text"], text);
            for field in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let lists = of_choice().filter_map(|part| part["logprobs"][field].as_array());
                let joined: Vec<_> = lists.flatten().cloned().collect();
                assert_eq!(Value::from(joined), choice["logprobs"][field], "{field}");
            }
            assert_eq!(of_choice().next_back().unwrap()["finish_reason"], choice["finish_reason"]);
        }
    }
    let long =
        json!({"prompt": "word ".repeat(2000), "echo": true, "stream": true, "logprobs": 1, "max_tokens": 0});
    post(&url(), complete(long)).refused(400);
}

#[test]
fn tokens_become_text_again() {
    let tokens = ids("Ada Brook lives here.");
    let text = post(&format!("{}/detokenize", shared()), json!({"tokens": tokens})).ok();
    assert_eq!(text["prompt"], "Ada Brook lives here.");
    let wrong = post(&format!("{}/detokenize", shared()), json!({"tokens": [1, 1 << 20]}));
    assert_eq!(wrong.refused(400), "tokens[1]");
}
