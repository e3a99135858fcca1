//! Requests of all shapes: none makes the server panic, and none that is wrong is answered with a status of 5xx. The variable
//! `PROPTEST_CASES` sets how many are read.
use std::sync::OnceLock;

use eft_serve::Models;
use eft_serve::api::{App, status_of_request};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::{RegexGeneratorStrategy, string_regex};
use serde_json::{Value, json};

use crate::http::post_text;
use crate::{shared, zoo};

fn app() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let config = zoo();
        App::new(Models::load(&config).expect("the models load"), &config, None).expect("a thread")
    })
}

/// The names of all fields, and some that there are not.
const FIELDS: [&str; 31] = [
    "model",
    "messages",
    "prompt",
    "n",
    "best_of",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "max_tokens",
    "max_completion_tokens",
    "logprobs",
    "top_logprobs",
    "echo",
    "stream",
    "stream_options",
    "response_format",
    "suffix",
    "tools",
    "tool_choice",
    "functions",
    "messages",
    "eft",
    "user",
    "",
];

/// Texts that match a regular expression. A plain string would be one, too, but is then parsed for each text.
fn text(regex: &str) -> RegexGeneratorStrategy<String> {
    string_regex(regex).expect("a regular expression")
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..30).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (-2.0..3.0f64).prop_map(|number| json!(number)),
        text(".{0,12}").prop_map(Value::from),
        text(
            "eft|large|tuned|user|system|assistant|tool|text|json_object|json_schema|formula|alpha|auto|none"
        )
        .prop_map(Value::from),
        text("large [+*-] (tuned|small|alpha|0\\.5|1e39)").prop_map(Value::from),
    ]
}

/// Values of any shape up to a depth. `prop_recursive` would build its strategies anew for each value, and parse their regular
/// expressions.
fn value() -> BoxedStrategy<Value> {
    let (leaf, name) = (leaf().boxed(), text(
        "role|content|type|text|formula|alpha|attribution|json_schema|schema|include_usage|tool_calls|function|\
         arguments|name|[0-9]{1,4}|.{0,4}",
    ).boxed());
    (0..4).fold(leaf.clone(), |inner, _| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
        let object = prop::collection::hash_map(name.clone(), inner, 0..4);
        let object = object.prop_map(|map| Value::Object(map.into_iter().collect()));
        prop_oneof![2 => leaf.clone(), 1 => list, 1 => object].boxed()
    })
}

/// A request that is right but for some fields.
fn request() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((prop::sample::select(FIELDS.to_vec()), value()), 0..4);
    fields.prop_map(|fields| {
        let mut body = json!({
            "model": "eft", "messages": [{"role": "user", "content": "Who?"}], "prompt": "Who", "max_tokens": 2,
        });
        fields.into_iter().for_each(|(name, value)| body[name] = value);
        body.to_string()
    })
}

proptest! {
    #[test]
    fn requests_are_read_or_refused(body in request(), chat in any::<bool>()) {
        let status = status_of_request(app(), chat, body.as_bytes());
        prop_assert!(status < 500, "{status}: {body}");
    }

    #[test]
    fn bytes_are_read_or_refused(mut body in request(), at in any::<prop::sample::Index>(), byte in any::<char>(), cut in any::<bool>()) {
        let at = (0..=at.index(body.len())).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
        if cut { body.truncate(at) } else { body.insert(at, byte) }
        let status = status_of_request(app(), true, body.as_bytes());
        prop_assert!(status < 500, "{status}: {body}");
    }
}

/// The tests above would be worth little if all requests were right, or all were refused at once.
#[test]
fn some_requests_are_right_and_some_are_wrong() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bodies = (0..100).map(|_| request().new_tree(&mut runner).expect("a request").current());
    let right = bodies.filter(|body| status_of_request(app(), true, body.as_bytes()) == 200).count();
    assert!((10..90).contains(&right), "{right} of 100");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn requests_are_answered_or_refused(body in request(), chat in any::<bool>()) {
        let path = if chat { "chat/completions" } else { "completions" };
        let answer = post_text(&format!("{}/v1/{path}", shared()), &body);
        prop_assert!(answer.status < 500, "{}: {body}: {}", answer.status, answer.text);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let url = format!("{}/v1/completions", shared());
    let deep = "[".repeat(100_000);
    for body in ["", "{", "[]", "7", "{} {}", "\u{0}", "{\"prompt\": \"\\ud800\"}", &deep] {
        post_text(&url, body).refused(400);
    }
    post_text(&url, b"{\"prompt\": \"\xff\"}").refused(400);
    post_text(&url, "x".repeat((1 << 20) + 1)).refused(413);
    let plain = ureq::post(&url).config().http_status_as_error(false).build();
    let answer = plain.header("Content-Type", "text/plain").send("{}").expect("an answer");
    assert_eq!(answer.status(), 415);
}
