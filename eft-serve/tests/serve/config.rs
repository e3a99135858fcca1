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
        ("[models]\na = \"x\"\n[combinations.a]\nformula = \"a\"", 3, "combinations.a", "same name"),
        ("[limits]\nrows = 0", 2, "limits.rows", "at least 1"),
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

/// A good file that was changed for the worse: the error names the file and the key, and reading it takes little more memory
/// than it has bytes.
#[test]
fn broken_files_are_refused_with_little_memory() {
    const GOOD: &str = "[server]\nport = 0\ndrain_seconds = 5\n[models]\nlarge = \"x\"\nsmall = { path = \"y\" }\n\
        [combinations.half]\nformula = \"large + 0.5*small\"\nnumbers = { a = 0.5 }\n\
        [defaults]\ntemperature = 0.5\ntop_k = 5\n[limits]\nrows = 4\nseconds = 9\n[speculation]\nrows = 2\n";
    assert!(Config::parse(GOOD, "eft.toml").is_ok());
    let changes = [
        ("port = 0", "port = -1", "server.port"),
        ("port = 0", "port = 1e3", "server.port"),
        ("port = 0", "port = \"0\"", "server.port"),
        ("port = 0", "port = 99999999999999999999", ""),
        ("port = 0", "port =", ""),
        ("port = 0", "port 0", ""),
        ("port = 0", "port = 0\nport = 1", ""),
        ("port = 0", "part = 0", "server.part"),
        ("drain_seconds = 5", "drain_seconds = nan", "server.drain_seconds"),
        ("drain_seconds = 5", "drain_seconds = -inf", "server.drain_seconds"),
        ("drain_seconds = 5", "drain_seconds = 1e300", "server.drain_seconds"),
        ("\"x\"", "[\"x\"]", "models.large"),
        ("\"x\"", "\"x", ""),
        ("\"x\"", "true", "models.large"),
        ("\"x\"", "2026-11-28", "models.large"),
        ("\"x\"", "\"\\u{110000}\"", ""),
        ("\"x\"", "\"\u{1}\"", ""),
        ("{ path = \"y\" }", "{}", "models.small"),
        ("{ path = \"y\" }", "{ path = 5 }", "models.small"),
        ("{ path = \"y\" }", "{ path = \"y\", bas = \"large\" }", "models.small"),
        ("{ path = \"y\" }", "{ path = \"y\", base = \"small\" }", "models.small.base"),
        ("{ path = \"y\" }", "{ path = \"y\"", ""),
        ("[combinations.half]", "[combinations.half", ""),
        ("[combinations.half]", "[combinations.]", ""),
        ("[combinations.half]", "[models.large]", ""),
        ("large + 0.5*small", "large +", "combinations.half.formula"),
        ("large + 0.5*small", "larger", "combinations.half.formula"),
        ("large + 0.5*small", "", "combinations.half.formula"),
        ("{ a = 0.5 }", "{ a = inf }", "combinations.half.numbers.a"),
        ("{ a = 0.5 }", "{ a = \"b\" }", "combinations.half.numbers.a"),
        ("{ a = 0.5 }", "[0.5]", "combinations.half.numbers"),
        ("temperature = 0.5", "temperature = -1", "defaults.temperature"),
        ("temperature = 0.5", "temperature = nan", "defaults.temperature"),
        ("top_k = 5", "top_k = -5", "defaults.top_k"),
        ("top_k = 5", "top_k = 0.5", "defaults.top_k"),
        ("rows = 4", "rows = 0", "limits.rows"),
        ("rows = 4", "rows = -4", "limits.rows"),
        ("seconds = 9", "seconds = \"9\"", "limits.seconds"),
        ("rows = 2", "rows = [2]", "speculation.rows"),
        ("[speculation]", "[speculations]", "speculations"),
    ];
    let changed = changes.map(|(from, to, key)| (GOOD.replacen(from, to, 1), key));
    let nested = |open: &str, close: &str| {
        format!("[models]\nlarge = {}1{}", open.repeat(100_000), close.repeat(100_000))
    };
    let more =
        [nested("[", "]"), nested("{a = ", "}"), format!("{}a = 1", "a.".repeat(100_000)), "\u{0}".into()];
    let cut =
        (1..20).map(|i| (GOOD[..i * 9].to_owned(), "")).filter(|(text, _)| Config::parse(text, "").is_err());
    let all = changed.into_iter().chain(more.map(|text| (text, ""))).chain(cut);
    for (text, key) in all {
        let shown: String = text.chars().take(300).collect();
        let mut read = None;
        let used = allocation_counter::measure(|| read = Some(Config::parse(&text, "eft.toml"))).bytes_max;
        let error = read.unwrap().expect_err(&shown);
        assert!(
            error.to_string().starts_with("eft.toml") && error.key().starts_with(key),
            "{shown}: {error}"
        );
        assert!(error.to_string().len() < 2000, "{shown}: {error}");
        assert!(used <= text.len() as u64 + (1 << 20), "{shown}: {used} bytes of memory");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("eft.toml");
    std::fs::write(&file, [GOOD.as_bytes(), b"\xff"].concat()).unwrap();
    assert!(Config::read(&file).unwrap_err().to_string().contains("eft.toml"));
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
