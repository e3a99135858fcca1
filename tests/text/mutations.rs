//! Good files and texts that were changed for the worse: each is an error that names the file and the field or tensor, none
//! is a panic, and none takes much more memory than the file has bytes.
mod adapters;
mod checkpoint;
mod formulas;
mod gguf;
mod gguf_file;
#[cfg(feature = "grammar")]
mod grammars;
mod memory;
mod quantised;
mod tensor_files;
mod tokenizer_json;
mod torch;

use std::path::Path;

use eft::candle::{Candle, CandleNn};
use eft::text::ChatTemplate;
use eft::{Loader, Message, Prompt};
use serde_json::{Value, json};

use crate::here;
use crate::loading::folder;

/// A JSON object, cut off, with bytes that are no text, nested deeply, and so on. None of these is JSON.
fn garbled(good: &str) -> Vec<Vec<u8>> {
    let bytes = good.trim_end().as_bytes();
    let mut broken: Vec<_> = (0..8).map(|i| bytes[..i * (bytes.len() - 1) / 7].to_vec()).collect();
    for at in [1, bytes.len() / 2, bytes.len() - 1] {
        broken.push([&bytes[..at], b"\xff\xc0", &bytes[at..]].concat());
    }
    let entry = |value: &str| [&bytes[..1], format!("\"a\": {value},").as_bytes(), &bytes[1..]].concat();
    for value in
        ["", "1e999", "NaN", "01", "'a'", "yes", "\"\u{1}\"", "[1,]", "{\"a\" 1}", "\"\\ud800\"", "1 2"]
    {
        broken.push(entry(value));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        broken.push(entry(&format!("{}1{}", open.repeat(100_000), close.repeat(100_000))));
    }
    broken.push([bytes, b"}"].concat());
    broken
}

/// The message of loading the folder and asking for the recommended settings, where a file has this content.
fn error_of(folder: &Path, file: &str, content: &[u8]) -> Option<String> {
    std::fs::write(folder.join(file), content).unwrap();
    let read = || {
        let model = Loader::new(folder.to_str().unwrap()).load_on(CandleNn::new(Candle::cpu()));
        let error = match model {
            Ok(model) => {
                model.decoding("the").and_then(|_| model.source.render(Prompt::chat("the"))).err()?
            }
            Err(error) => error.into(),
        };
        Some(eft::error::with_sources(&error).to_string())
    };
    memory::bounded(folder, read)
}

/// Checks that each garbled form of a file, and each wrong value of its fields, is an error that names them.
fn check(file: &str, good: &Value, wrong: &[(&str, Value)]) {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let good_text = serde_json::to_string_pretty(good).unwrap();
    assert_eq!(error_of(&folder, file, good_text.as_bytes()), None);
    let broken = garbled(&good_text);
    assert!(broken.len() >= 20 && wrong.len() >= 20);
    for content in broken {
        let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
        let error = error_of(&folder, file, &content).unwrap_or_else(|| panic!("accepted: {shown}"));
        assert!(error.contains(file) && error.len() < 2000, "{shown}: {error}");
    }
    for (field, value) in wrong {
        let mut changed = good.clone();
        changed[*field] = value.clone();
        let changed = changed.to_string();
        // As in Python, the last of several entries counts.
        let entry = format!("{}:", json!(field));
        let twice = changed.replacen(&entry, &format!("{entry}null,{entry}"), 1);
        for content in [changed, twice] {
            let error = error_of(&folder, file, content.as_bytes());
            let error = error.unwrap_or_else(|| panic!("accepted: {content}"));
            assert!(error.contains(file) && error.contains(field), "{content}: {error}");
        }
    }
}

#[test]
fn tokenizer_configurations() {
    let good = json!({
        "bos_token": "<|end|>", "eos_token": {"content": "<|end|>", "lstrip": false},
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        "added_tokens_decoder": {"95": {"content": "<|end|>", "special": true}},
    });
    let decoder = "added_tokens_decoder";
    let template = "chat_template";
    check(
        "tokenizer_config.json",
        &good,
        &[
            ("bos_token", json!(5)),
            ("bos_token", json!(1e300)),
            ("bos_token", json!(["<|end|>"])),
            ("eos_token", json!({"content": 7})),
            ("eos_token", json!({"lstrip": false})),
            ("eos_token", json!(true)),
            ("unk_token", json!({})),
            ("additional_special_tokens", json!(5)),
            ("additional_special_tokens", json!([7])),
            ("additional_special_tokens", json!([{"text": "<|end|>"}])),
            ("extra_special_tokens", json!("<|end|>")),
            (decoder, json!([])),
            (decoder, json!({"x": {"content": "<|end|>"}})),
            (decoder, json!({"-1": {"content": "<|end|>"}})),
            (decoder, json!({"1e2": {"content": "<|end|>"}})),
            (decoder, json!({"99999999999999999999": {"content": "<|end|>"}})),
            (decoder, json!({"4294967295": {"content": "<new>"}})),
            (decoder, json!({"95": 7})),
            (decoder, json!({"95": {"content": 7}})),
            (decoder, json!({"95": {}})),
            (template, json!(7)),
            (template, json!([7])),
            (template, json!([{"name": "default"}])),
            (template, json!([{"template": "x"}])),
            (template, json!({"default": null})),
        ],
    );
}

#[test]
fn generation_configurations() {
    let good = json!({
        "do_sample": true, "temperature": 0.7, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1,
        "eos_token_id": [95], "suppress_tokens": [3], "max_new_tokens": 20,
    });
    check(
        "generation_config.json",
        &good,
        &[
            ("do_sample", json!("yes")),
            ("do_sample", json!(1)),
            ("temperature", json!("hot")),
            ("temperature", json!(-1)),
            ("temperature", json!(1e39)),
            ("top_p", json!(0)),
            ("top_p", json!([0.9])),
            ("top_k", json!(-1)),
            ("top_k", json!(1.5)),
            ("top_k", json!(1e30)),
            ("min_p", json!(2)),
            ("min_p", json!(-0.5)),
            ("repetition_penalty", json!(0)),
            ("repetition_penalty", json!(-1e39)),
            ("repetition_penalty", json!({})),
            ("no_repeat_ngram_size", json!(-3)),
            ("suppress_tokens", json!(5)),
            ("suppress_tokens", json!([-1])),
            ("suppress_tokens", json!([1e10])),
            ("suppress_tokens", json!([99_999])),
            ("begin_suppress_tokens", json!("x")),
            ("begin_suppress_tokens", json!([96])),
            ("bad_words_ids", json!([[]])),
            ("bad_words_ids", json!([5])),
            ("bad_words_ids", json!([[1, 99_999]])),
            ("min_new_tokens", json!(-1)),
            ("max_new_tokens", json!(1.5)),
            ("max_new_tokens", json!(1e30)),
            ("max_length", json!("long")),
            ("eos_token_id", json!("two")),
            ("eos_token_id", json!([2, 1.5])),
        ],
    );
}

#[test]
fn chat_templates() {
    let mut refused = 0;
    for name in ["llama3.jinja", "qwen2.5.jinja", "extras.jinja", "mistral.jinja"] {
        let good = std::fs::read_to_string(here("templates").join(name)).unwrap();
        let good = good.as_str();
        let cuts = (0..24).map(|i| i * good.len() / 24).filter(|at| good.is_char_boundary(*at));
        let mut broken: Vec<String> = cuts.map(|at| good[..at].to_owned()).collect();
        for (from, to) in [
            ("{%", "{"),
            ("%}", "}"),
            ("endif", "endblock"),
            ("endfor", "endif"),
            ("if", "fi"),
            ("for", "four"),
            ("in messages", "messages"),
            ("messages", "1e999"),
            ("messages", "[[["),
            ("{{", "{{{{"),
            ("}}", "| nonsense }}"),
            ("}}", ".nonsense() }}"),
            ("}}", "[1:2:0:3] }}"),
            ("'", ""),
            ("==", "==="),
            ("}}", "* 99999999999999999999999999 }}"),
            ("{{", "{{ 1 // 0 + "),
            ("{{", "{{ undefined.field.field ~ "),
        ] {
            broken.push(good.replacen(from, to, 1));
        }
        for (open, close) in [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("{% if 1 %}", "{% endif %}")]
        {
            let nested = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
            broken.push(if open.starts_with('{') { nested } else { format!("{{{{ {nested} }}}}") });
        }
        for text in broken {
            let parsed = ChatTemplate::new("broken.jinja", &text);
            let error = match parsed {
                Ok(template) => template.render(&[Message::new("user", "Hi!")]).err(),
                Err(error) => Some(error.to_string()),
            };
            // A change in a text is no fault.
            let Some(error) = error else { continue };
            refused += 1;
            let shown: String = text.chars().take(300).collect();
            assert!(error.contains("broken.jinja") && error.len() < 2000, "{error}: {shown}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chat_template.jinja");
        std::fs::write(&file, [good.as_bytes(), b"\xff"].concat()).unwrap();
        let error = ChatTemplate::read(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("chat_template.jinja"), "{error}");
    }
    assert!(refused >= 80, "{refused}");
}

#[test]
fn definitions_of_tools() {
    let good = r#"[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]"#;
    let source = std::fs::read_to_string(here("templates/qwen2.5.jinja")).unwrap();
    let template = || ChatTemplate::new("template.jinja", &source).unwrap();
    assert!(template().json("tools", good).unwrap().render(&[Message::new("user", "Hi!")]).is_ok());
    let length = good.len();
    let mut broken: Vec<String> = (0..12).map(|i| good[..i * (length - 1) / 11].to_owned()).collect();
    broken.extend([
        good.replacen(':', "", 1),
        good.replacen('"', "'", 2),
        good.replacen("\"city\"", "\"ci\nty\"", 1),
    ]);
    broken.extend(
        ["5", "\"weather\"", "{}", "true", "[5]", "[null]", "[\"weather\"]", "[[]]", "[NaN]", "[1e999]"]
            .map(String::from),
    );
    broken.push(good.replacen("[{", "[7, {", 1));
    broken.push(format!("[{{\"type\": {}1{}}}]", "[".repeat(100_000), "]".repeat(100_000)));
    for text in broken {
        let shown: String = text.chars().take(200).collect();
        let error = template().json("tools", &text).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("template.jinja") && error.contains("tools") && error.len() < 500,
            "{shown}: {error}"
        );
    }
    let of_message = |text: &str| template().render(&[Message::new("user", "Hi!").field("tools", text)]);
    let of_template = template().json("tools", good).unwrap().render(&[Message::new("user", "Hi!")]);
    assert_eq!(of_message(good), of_template, "the tools of one conversation");
    let error = of_message("[5]").unwrap_err();
    assert!(error.contains("template.jinja") && error.contains("`tools`"), "{error}");
    for documents in ["5", "[7]", "{\"title\": \"a\"}"] {
        let error = template().json("documents", documents).map(drop).unwrap_err().to_string();
        assert!(error.contains("documents"), "{error}");
    }
}
