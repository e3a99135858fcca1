//! Conversations.
use eft::{Decoding, Prompt, Sampling};
use serde_json::{Value, json};

use crate::http::{get, post, post_text};
use crate::shared;

const QUESTION: &str = "Where does Ada Brook live?";

fn ask(more: Value) -> Value {
    let mut body = json!({
        "model": "eft", "temperature": 0, "max_tokens": 24,
        "messages": [{"role": "user", "content": QUESTION}],
    });
    more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    body
}

fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// The text that the library generates by itself.
fn alone(formula: &str, sampling: Sampling) -> String {
    let load = |name: &str| eft::load(format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (large, small, tuned) = (load("base-large"), load("base-small"), load("tuned-small"));
    let models = [("large", &large), ("small", &small), ("tuned", &tuned)];
    let source = eft::formula::parse(formula, models).unwrap();
    let decoding = Decoding::from(sampling).max_tokens(24);
    let request = eft::decode::Request::new(Prompt::chat(QUESTION)).id(0);
    let texts = source.generate_batch([request], decoding).unwrap().text().unwrap().read();
    texts.into_iter().next().unwrap().unwrap()
}

#[test]
fn an_answer_is_the_text_that_the_library_generates() {
    let url = format!("{}/v1/chat/completions", shared());
    let answer = post(&url, ask(json!({}))).ok();
    assert_eq!(text(&answer), alone("large + 1*(tuned - small)", Sampling::greedy()));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let usage = &answer["usage"];
    let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);

    let sampled = post(&url, ask(json!({"temperature": 1.5, "top_p": 0.95, "seed": 11}))).ok();
    let sampling = Sampling::default().temperature(1.5).top_p(0.95).seed(11);
    assert_eq!(text(&sampled), alone("large + 1*(tuned - small)", sampling));
}

#[test]
fn a_stream_joins_to_the_answer() {
    let url = format!("{}/v1/chat/completions", shared());
    let whole = post(&url, ask(json!({"logprobs": true, "top_logprobs": 3}))).ok();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 3});
    let parts = post(&url, ask(options)).parts();
    let (last, parts) = parts.split_last().unwrap();
    assert_eq!((&last["usage"], &last["choices"]), (&whole["usage"], &json!([])));
    let delta = |part: &Value| part["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned();
    assert_eq!(parts.iter().map(delta).collect::<String>(), text(&whole));
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(parts.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let tokens = parts.iter().filter_map(|part| part["choices"][0]["logprobs"]["content"].as_array());
    let tokens: Vec<_> = tokens.flatten().cloned().collect();
    assert_eq!(Value::from(tokens), whole["choices"][0]["logprobs"]["content"]);
}

#[test]
fn log_probs_are_those_of_the_combination() {
    let url = format!("{}/v1/chat/completions", shared());
    let answer = post(&url, ask(json!({"logprobs": true, "top_logprobs": 2}))).ok();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let joined: String = content.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(joined, text(&answer));
    for token in content {
        // Greedy texts consist of the likeliest tokens.
        assert_eq!(token["top_logprobs"][0]["token"], token["token"]);
        assert_eq!(token["top_logprobs"][0]["logprob"], token["logprob"]);
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
    }
}

#[test]
fn several_texts_differ_and_are_the_same_again_for_one_seed() {
    let url = format!("{}/v1/chat/completions", shared());
    let texts = || -> Vec<String> {
        let answer = post(&url, ask(json!({"n": 4, "temperature": 2.0, "seed": 5}))).ok();
        let choices = answer["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let first = texts();
    assert_eq!(first.len(), 4);
    assert!(first.iter().any(|text| *text != first[0]));
    assert_eq!(first, texts());
}

#[test]
fn a_request_changes_the_combination() {
    let url = format!("{}/v1/chat/completions", shared());
    let with = |eft: Value| text(&post(&url, ask(json!({"eft": eft}))).ok()).to_owned();
    assert_eq!(with(json!({"alpha": 0.0})), alone("large", Sampling::greedy()));
    assert_eq!(with(json!({"alpha": 0.4})), alone("large + 0.4*(tuned - small)", Sampling::greedy()));
    assert_eq!(with(json!({"formula": "tuned"})), alone("tuned", Sampling::greedy()));
    let own = json!({"formula": "small + w*(tuned - small)", "w": 0.5});
    assert_eq!(with(own), alone("small + 0.5*(tuned - small)", Sampling::greedy()));
    // A combination that takes conversations only.
    let hinted = r#"large + under("Be brief.", tuned) - small"#;
    assert_eq!(with(json!({"formula": hinted})), alone(hinted, Sampling::greedy()));
    // A model is served under its own name, too.
    let tuned = post(&url, ask(json!({"model": "tuned"}))).ok();
    assert_eq!(text(&tuned), alone("tuned", Sampling::greedy()));
}

/// Formulas are printed in short where they are deep, and texts of one formula share a batch.
#[test]
fn deep_combinations_are_not_taken_for_each_other() {
    let url = format!("{}/v1/chat/completions", shared());
    let deep = |inner: &str| (0..20).fold(inner.to_owned(), |formula, _| format!("large - ({formula})"));
    for inner in ["tuned", "small"] {
        let answer = post(&url, ask(json!({"eft": {"formula": deep(inner)}}))).ok();
        assert_eq!(text(&answer), alone(inner, Sampling::greedy()));
    }
}

#[test]
fn shares_of_terms_add_up_to_the_margin_of_the_combination() {
    let url = format!("{}/v1/chat/completions", shared());
    let more = json!({"eft": {"attribution": true}, "logprobs": true, "top_logprobs": 2});
    let answer = post(&url, ask(more)).ok();
    let choice = &answer["choices"][0];
    let attribution = choice["eft"]["attribution"].as_array().unwrap();
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(attribution.len(), content.len());
    for (attribution, token) in attribution.iter().zip(content) {
        assert_eq!(attribution["terms"].as_array().unwrap().len(), 3);
        let shares = attribution["terms"].as_array().unwrap().iter();
        let sum: f64 = shares.map(|term| term["shares"][0].as_f64().unwrap()).sum();
        let top = |index: usize| token["top_logprobs"][index]["logprob"].as_f64().unwrap();
        assert!((sum - (top(0) - top(1))).abs() < 1e-3, "{attribution}");
    }
}

#[test]
fn what_is_attributed_does_not_depend_on_other_requests() {
    let url = format!("{}/v1/chat/completions", shared());
    // Terms that cancel are reported, too; no other text runs their models.
    let bodies: Vec<_> = (0..12)
        .map(|index| {
            let eft = json!({"alpha": 0.5 * (index % 2) as f64, "attribution": index % 3 > 0});
            ask(json!({"eft": eft, "temperature": 1.2, "seed": index / 2, "max_tokens": 8 + index}))
        })
        .collect();
    let alone: Vec<_> = bodies.iter().map(|body| post(&url, body.clone()).ok()).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = bodies.iter().map(|body| scope.spawn(|| post(&url, body.clone()).ok())).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (index, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(text(together), text(alone), "{index}");
        let of = |answer: &Value| answer["choices"][0]["eft"]["attribution"].as_array().cloned();
        let (Some(together), Some(alone)) = (of(together), of(alone)) else {
            assert_eq!((of(together), of(alone), index % 3), (None, None, 0));
            continue;
        };
        assert_eq!(together.len(), alone.len());
        for (got, expected) in together.iter().zip(&alone) {
            assert_eq!((&got["token"], &got["rivals"]), (&expected["token"], &expected["rivals"]), "{index}");
            let terms = |of: &Value| of["terms"].as_array().unwrap().clone();
            assert_eq!(terms(got).len(), 3);
            for (got, expected) in terms(got).iter().zip(terms(expected)) {
                assert_eq!((&got["name"], &got["weight"]), (&expected["name"], &expected["weight"]));
                for rival in 0..3 {
                    let margin = |of: &Value| of["margins"][rival].as_f64().unwrap();
                    assert!((margin(got) - margin(&expected)).abs() < 1e-3, "{index}: {got} {expected}");
                }
            }
        }
    }
}

#[test]
fn settings_of_the_protocol_change_texts() {
    let url = format!("{}/v1/chat/completions", shared());
    let plain = text(&post(&url, ask(json!({}))).ok()).to_owned();
    let word = plain.split_whitespace().nth(1).unwrap().to_owned();

    let stopped = post(&url, ask(json!({"stop": [word]}))).ok();
    assert_eq!(text(&stopped), plain.split(&word).next().unwrap());
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");

    let cut = post(&url, ask(json!({"max_completion_tokens": 2}))).ok();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(cut["usage"]["completion_tokens"], 2);

    let ids =
        post(&format!("{}/tokenize", shared()), json!({"prompt": plain, "add_special_tokens": false})).ok();
    let bias: serde_json::Map<_, _> =
        ids["tokens"].as_array().unwrap().iter().map(|id| (id.to_string(), json!(-100))).collect();
    let biased = post(&url, ask(json!({"logit_bias": bias}))).ok();
    assert_ne!(text(&biased), plain);
    for penalty in ["presence_penalty", "frequency_penalty", "repetition_penalty"] {
        post(&url, ask(json!({penalty: 1.1}))).ok();
    }
    for (name, value) in [("top_k", json!(1)), ("min_p", json!(1.0)), ("top_p", json!(1e-6))] {
        let only = post(&url, ask(json!({"temperature": 1.0, name: value}))).ok();
        assert_eq!(text(&only), plain, "{name}");
    }
    // Unknown fields are ignored.
    assert_eq!(text(&post(&url, ask(json!({"user": "me", "no such field": [1]}))).ok()), plain);
}

#[test]
fn wrong_requests_name_their_field() {
    let url = format!("{}/v1/chat/completions", shared());
    let many: serde_json::Map<_, _> = (0..100).map(|number| (format!("n{number}"), json!(1))).collect();
    let wrong = [
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"top_p": 2}), "top_p"),
        (json!({"n": 0}), "n"),
        (json!({"max_tokens": 1.5}), "max_tokens"),
        (json!({"max_tokens": 1_000_000}), "max_tokens"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": 5, "content": ""}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 7}]}), "messages[0].content"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias.x"),
        (json!({"logit_bias": {"999999": 1}}), "logit_bias.999999"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"stop": [""]}), "stop"),
        (json!({"tools": [{"type": "function"}]}), "tools"),
        (json!({"tools": [7]}), "tools[0]"),
        (json!({"tools": {"type": "function"}}), "tools"),
        (json!({"tools": [{"type": "function"}], "tool_choice": "required"}), "tool_choice"),
        (json!({"functions": [{"name": "weather"}]}), "functions"),
        (json!({"response_format": {"type": "yaml"}}), "response_format"),
        (json!({"eft": {"beta": 1}}), "eft.beta"),
        (json!({"eft": {"alpha": "much"}}), "eft.alpha"),
        (json!({"eft": {"formula": "large + nobody"}}), "eft.formula"),
        (json!({"eft": {"formula": "large", "a": 1}}), "eft.a"),
        (json!({"eft": {"formula": "large + a*tuned", "a": 1, "b": 1}}), "eft.b"),
        (json!({"eft": {"formula": "large - large"}}), ""),
        (json!({"eft": {"formula": format!("large{}", " ".repeat(20_000))}}), "eft.formula"),
        (json!({"eft": many}), "eft"),
    ];
    for (more, field) in wrong {
        let answer = post(&url, ask(more.clone()));
        let named = answer.refused(400);
        assert!(named.starts_with(field), "{more}: {}", answer.text);
    }
    assert_eq!(post(&url, ask(json!({"model": "gpt"}))).refused(404), "model");
    assert_eq!(get(&format!("{}/v1/nothing", shared())).status, 404);
    assert_eq!(get(&url).status, 405);
}

#[test]
fn models_are_listed_with_their_formulas() {
    let models = get(&format!("{}/v1/models", shared())).ok();
    let ids: Vec<_> =
        models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["eft", "large", "small", "tuned"]);
    assert_eq!(models["data"][0]["eft"]["numbers"]["alpha"], 1.0);
    assert_eq!(get(&format!("{}/v1/models/eft", shared())).ok()["id"], "eft");
    assert_eq!(get(&format!("{}/v1/models/none", shared())).status, 404);
}

#[cfg(feature = "grammar")]
#[test]
fn an_answer_follows_its_schema() {
    let url = format!("{}/v1/chat/completions", shared());
    let schema = json!({"type": "object", "properties": {"plays": {"enum": ["fiddle", "harp"]}},
        "required": ["plays"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
    let answer = post(&url, ask(json!({"response_format": format, "max_tokens": 60}))).ok();
    let written: Value = serde_json::from_str(text(&answer)).expect("the answer is JSON");
    assert!(["fiddle", "harp"].contains(&written["plays"].as_str().unwrap()));
    let wrong = json!({"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}});
    assert_eq!(post(&url, ask(json!({"response_format": wrong}))).refused(400), "response_format");
}

/// The tuned model of this server has a template with tools.
#[test]
fn tools_are_passed_to_the_chat_template() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::zoo();
    let tuned = std::path::PathBuf::from(&config.models["tuned"].path);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tuned.join(file), folder.path().join(file)).unwrap();
    }
    let template = "{{ bos_token }}{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}{% for m in messages %}\
        {% if m.tool_calls %}[Call] {{ m.tool_calls[0].function.arguments.city }}{% else %}[User] {{ m.content }}\n{% endif %}\
        {% endfor %}[Assistant]";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    config
        .models
        .insert("tuned".into(), eft_serve::config::ModelConfig::new(folder.path().to_string_lossy()));
    // Prompts are counted as this model reads them.
    let combination = eft_serve::config::CombinationConfig::new("tuned + large - small");
    config.combinations.insert("eft".into(), combination);
    let server = eft_serve::Server::start(&config).unwrap();
    let url = format!("http://{}/v1", server.address());

    let tools = r#"[{"type": "function", "function": {"name": "weather", "description": "of a city"}}]"#;
    let asked = |model: &str, more: &str| {
        let body = format!(
            r#"{{"model": "{model}", "temperature": 0, "max_tokens": 12,
                "messages": [{{"role": "user", "content": "{QUESTION}"}}]{more}}}"#
        );
        post_text(&format!("{url}/chat/completions"), body)
    };
    let same = |prompt: String| {
        let body = json!({"model": "tuned", "prompt": prompt, "temperature": 0, "max_tokens": 12});
        post(&format!("{url}/completions"), body).ok()
    };
    // The entries of objects keep their order.
    let with = asked("tuned", &format!(r#", "tools": {tools}"#)).ok();
    let expected = same(format!("Tools: {tools}\n[User] {QUESTION}\n[Assistant]"));
    assert_eq!(with["choices"][0]["message"]["content"], expected["choices"][0]["text"]);
    assert_eq!(with["usage"], expected["usage"]);
    // Not to be used, they are left out.
    let without = asked("tuned", &format!(r#", "tools": {tools}, "tool_choice": "none""#)).ok();
    assert_eq!(without["usage"], same(format!("[User] {QUESTION}\n[Assistant]"))["usage"]);
    // A combination needs one model that is told of them.
    assert_eq!(asked("eft", &format!(r#", "tools": {tools}"#)).status, 200);
    assert_eq!(asked("large", &format!(r#", "tools": {tools}"#)).refused(400), "tools");

    // The arguments of earlier calls are objects for the template.
    let call = json!({"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Norby\"}"}});
    let messages = json!([
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "cold"},
    ]);
    let body = json!({"model": "tuned", "messages": messages, "temperature": 0, "max_tokens": 12});
    let called = post(&format!("{url}/chat/completions"), body).ok();
    let expected = same(format!("[User] {QUESTION}\n[Call] Norby[User] cold\n[Assistant]"));
    assert_eq!(called["usage"], expected["usage"]);
    assert_eq!(called["choices"][0]["message"]["content"], expected["choices"][0]["text"]);
}
