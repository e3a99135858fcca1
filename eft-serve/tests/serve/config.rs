//! Configuration files.
use eft_serve::{Config, Server};
use serde_json::json;

use crate::http::{get, post, post_with};

fn zoo(name: &str) -> String {
    format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn errors_name_line_and_key() {
    let wrong = [
        ("[models]\nlarge = 5", 2, "models.large", "the name of a model"),
        ("[server]\nport = 70000", 2, "server.port", "u16"),
        ("[server]\nhots = \"a\"", 2, "server.hots", "unknown field"),
        ("[models]\na = \"x\"\n\n[models.b]\npath = \"y\"\nbase = \"c\"", 6, "models.b.base", "no model `c`"),
        ("[models]\na = \"x\"\n[combinations.c]\nformula = \"a + b\"", 4, "combinations.c.formula", "`b`"),
        (
            "[models]\na = \"x\"\n[combinations.c]\nformula = \"a\"\nnumbers = { b = 1.0 }",
            5,
            "combinations.c.numbers.b",
            "no number",
        ),
        (
            "[models]\na = \"x\"\n[combinations.c]\nformula = \"a\"\nnumbers = { a = 1.0 }",
            5,
            "combinations.c.numbers.a",
            "a model",
        ),
        ("[models]\na = \"x\"\n[combinations.a]\nformula = \"a\"", 3, "combinations.a", "same name"),
        ("[models]\na = { path = \"x\", tokenizer = \"y\" }", 2, "models.a.tokenizer", "in their files"),
        ("[models]\na = { path = \"x\", backend = \"gpu\" }", 2, "models.a.backend", "`candle` or `tch`"),
        ("[models]\na = { pth = \"x\" }", 2, "models.a.pth", "unknown field"),
        ("[models.a]\nbase = \"x\"", 1, "models.a", "missing field `path`"),
        (
            "[models]\na = \"x\"\nb = { path = \"y\", base = \"a\", backend = \"candle\" }",
            3,
            "models.b.backend",
            "its base",
        ),
        ("[models]\na = { path = \"x\", cache_type = \"q4\" }", 2, "models.a.cache_type", "`q4`"),
        (
            "[models]\na = \"x\"\nb = { path = \"y\", base = \"a\", cache_type = \"f16\" }",
            3,
            "models.b.cache_type",
            "its base",
        ),
        ("[models]\na = { path = \"x\", weight_type = \"q3_k\" }", 2, "models.a.weight_type", "`q3_k`"),
        (
            "[models]\na = \"x\"\nb = { path = \"y\", base = \"a\", weight_type = \"q8_0\" }",
            3,
            "models.b.weight_type",
            "its base",
        ),
        ("[models]\na = \"x\"\n[speculation]\ndraft = \"b\"", 4, "speculation.draft", "no model `b`"),
        (
            "[models]\na = \"x\"\nb = \"y\"\n[speculation]\ndraft = \"b\"",
            5,
            "speculation.draft",
            "path of `b`",
        ),
        ("[limits]\nrows = 0", 2, "limits.rows", "at least 1"),
        ("[limits]\nseconds = 0.0", 2, "limits.seconds", "more than 0"),
        ("[defaults]\nchat_tokens = 0", 2, "defaults.chat_tokens", "at least 1"),
        ("[limits]\nseconds = -1", 2, "limits.seconds", "between"),
        ("[defaults]\n\ntop_p = 2", 3, "defaults.top_p", "must be"),
        ("[models\n", 1, "", ""),
    ];
    for (text, line, key, reason) in wrong {
        let error = Config::parse(text, "eft.toml").unwrap_err();
        assert_eq!((error.line(), error.key()), (Some(line), key), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let missing = Config::read("no such file.toml").unwrap_err();
    assert!(missing.to_string().starts_with("no such file.toml"), "{missing}");
}

#[test]
fn a_file_is_served_with_adapters_and_defaults() {
    let text = format!(
        r#"
        [server]
        port = 0

        [models]
        large = "{}"
        small = "{}"
        tuned = {{ path = "{}", base = "small" }}

        [combinations.half]
        formula = "large + strength*(tuned - small)"
        numbers = {{ strength = 0.5 }}

        [defaults]
        temperature = 0.0
        chat_tokens = 3
        "#,
        zoo("base-large"),
        zoo("base-small"),
        zoo("adapters/tuned-small")
    );
    let server = Server::start(&Config::parse(&text, "eft.toml").unwrap()).unwrap();
    let url = format!("http://{}/v1/chat/completions", server.address());
    let ask = |model: &str, more: serde_json::Value| {
        let messages = json!([{"role": "user", "content": "Where does Ada Brook live?"}]);
        let answer = post(&url, json!({"model": model, "messages": messages, "eft": more})).ok();
        assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 4);
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask("half", json!({"strength": 0})), ask("large", json!({})));
    assert_eq!(
        ask("half", json!({"strength": 1})),
        ask("half", json!({"formula": "large + (tuned - small)"}))
    );
    assert_eq!(ask("tuned", json!({})), ask("half", json!({"formula": "tuned"})));
}

/// A name may be part of another one, or of a number's.
#[test]
fn prompts_are_counted_by_the_first_model_of_the_formula() {
    let start = |first: &str, second: &str| {
        let text = format!(
            "[server]\nport = 0\n[models]\na = \"{}\"\nalp = \"{}\"\n[combinations.c]\nformula = \"alpha*{first} + {second}\"\n\
             numbers = {{ alpha = 1.0 }}",
            zoo("base-large"),
            zoo("tuned-small"),
        );
        Server::start(&Config::parse(&text, "eft.toml").unwrap()).unwrap()
    };
    let count = |server: &Server| {
        let messages = json!([{"role": "user", "content": "Where does Ada Brook live?"}]);
        post(&format!("http://{}/tokenize", server.address()), json!({"messages": messages})).ok()["tokens"]
            .clone()
    };
    // The tuned model has a template of its own.
    let (tuned, base) = (start("alp", "a"), start("a", "alp"));
    assert_ne!(count(&tuned), count(&base));
    let alone = Server::start(&crate::zoo()).unwrap();
    assert_eq!(count(&base), count(&alone));
}

#[test]
fn a_key_is_asked_for() {
    let mut config = crate::zoo();
    // A variable that every process has.
    config.server.api_key_env = Some("PATH".into());
    let server = Server::start(&config).unwrap();
    let url = format!("http://{}", server.address());
    let key = std::env::var("PATH").unwrap();
    assert_eq!(get(&format!("{url}/health")).status, 200);
    for path in ["/v1/models", "/metrics"] {
        let refused = get(&format!("{url}{path}"));
        refused.refused(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    let body = || json!({"prompt": "Who"});
    let ask =
        |value: &str| post_with(&format!("{url}/v1/completions"), ("Authorization", value), body()).status;
    assert_eq!(ask(&format!("Bearer {key}")), 200);
    for wrong in
        [format!("Bearer {key}x"), format!("Basic {key}"), key[..key.len() - 1].to_owned(), "Bearer ".into()]
    {
        assert_eq!(ask(&wrong), 401);
    }
    config.server.api_key_env = Some("NO_SUCH_VARIABLE_IS_SET".into());
    assert!(Server::start(&config).err().unwrap().to_string().contains("NO_SUCH_VARIABLE_IS_SET"));
}
