//! Chat templates, compared with transformers.
use eft::Message;
use eft::models::Error;
use eft::text::ChatTemplate;
use serde_json::Value;

use crate::{here, json};

fn messages(case: &Value) -> Vec<Message> {
    let text = |message: &Value, field: &str| message[field].as_str().unwrap().to_owned();
    let message = |m: &Value| Message::new(text(m, "role"), text(m, "content"));
    case["messages"].as_array().unwrap().iter().map(message).collect()
}

#[test]
fn conversations_are_those_of_transformers() {
    for case in json("templates/golden.json").as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let source = std::fs::read_to_string(here("templates").join(name)).unwrap();
        let template = ChatTemplate::new(name, &source).unwrap();
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")];
        let template = tokens.into_iter().fold(template, |t, (role, token)| t.token(role, token));
        let found = template.render(&messages(case));
        match case["text"].as_str() {
            Some(text) => assert_eq!(found.as_deref(), Ok(text), "{name}: {}", case["messages"]),
            None => {
                let error = case["error"].as_str().unwrap();
                assert!(
                    matches!(&found, Err(e) if e.contains(error) && e.contains(name)),
                    "{error}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn templates_are_found_where_there_are_any() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let read = |name| ChatTemplate::read(dir.path(), name);
    let hello = [Message::new("user", "hello")];
    let said = |name| read(name).unwrap().unwrap().render(&hello).unwrap();
    assert!(read(None).unwrap().is_none());
    write(
        "tokenizer_config.json",
        r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}"#,
    );
    assert!(read(None).unwrap().is_none());
    assert!(matches!(read(Some("rag")), Err(Error::Config { .. })));

    write(
        "tokenizer_config.json",
        r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "model_max_length": 9, "chat_template": [
            {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
            {"name": "rag", "template": "rag {{ messages[0].content }}"}]}"#,
    );
    assert_eq!((said(None), said(Some("rag"))), ("<s>hello</s>".into(), "rag hello".into()));
    let error = read(Some("tools")).unwrap_err();
    assert!(error.to_string().contains("`tools`") && error.to_string().contains("default, rag"), "{error}");

    write("chat_template.jinja", "alone {{ messages[0].content }}{{ eos_token }}");
    assert_eq!(said(None), "alone hello</s>");
    std::fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
    write("additional_chat_templates/tools.jinja", "tools");
    assert_eq!(said(Some("tools")), "tools");
}

/// A message with the fields of an object.
fn message(object: &Value) -> Message {
    let content = object["content"].as_str().unwrap_or_default();
    let message = Message::new(object["role"].as_str().unwrap(), content);
    let fields = object.as_object().unwrap().iter();
    let others = fields.filter(|(name, value)| *name != "role" && !(*name == "content" && value.is_string()));
    others.fold(message, |message, (name, value)| message.field(name, value.to_string()))
}

/// The text of the value of an entry in a JSON file, whose entries then keep their order.
fn text_of<'f>(file: &'f str, entry: &str) -> &'f str {
    let line = file.lines().find_map(|line| line.strip_prefix(&format!("\"{entry}\": "))).unwrap();
    line.strip_suffix(',').unwrap()
}

#[test]
fn constructs_are_those_of_transformers() {
    let file = std::fs::read_to_string(here("templates/constructs.json")).unwrap();
    let golden: Value = serde_json::from_str(&file).unwrap();
    let messages: Vec<_> = golden["messages"].as_array().unwrap().iter().map(message).collect();
    let mut wrong = Vec::new();
    for case in golden["constructs"].as_array().unwrap() {
        let source = case["source"].as_str().unwrap();
        let rendered = || {
            let template = ChatTemplate::new("some/file", source).map_err(|e| e.to_string())?;
            let names = ["tools", "documents", "enable_thinking", "nested", "none_set", "words", "long"];
            let set = |template: ChatTemplate, name| template.json(name, text_of(&file, name)).unwrap();
            names.into_iter().fold(template, set).render(&messages)
        };
        match (case["text"].as_str(), rendered()) {
            (Some(expected), Ok(found)) if found == expected => {}
            (None, Err(_)) => {}
            (expected, found) => wrong.push(format!("{source}\n  {expected:?}\n  {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} constructs differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn messages_are_left_open_as_by_transformers() {
    for case in json("templates/constructs.json")["prefills"].as_array().unwrap() {
        let template = ChatTemplate::new("some/file", case["source"].as_str().unwrap()).unwrap();
        let open = message(&serde_json::json!({"role": "assistant", "content": case["content"]}));
        let found = template.render(&[Message::new("user", "go"), open]);
        match case["text"].as_str() {
            Some(text) => assert_eq!(found.as_deref(), Ok(text), "{case}"),
            None => assert!(found.is_err(), "{case}: {found:?}"),
        }
    }
}

#[test]
fn fields_that_are_not_json_are_named() {
    let template = ChatTemplate::new("some/file", "{{ messages[0].content }}").unwrap();
    let error = template.render(&[Message::new("user", "").field("tool_calls", "[1")]).unwrap_err();
    assert!(error.contains("message 1") && error.contains("tool_calls"), "{error}");
    let error = template.json("tools", "{").unwrap_err().to_string();
    assert!(error.contains("some/file") && error.contains("`tools`"), "{error}");
}

#[test]
fn templates_without_a_default_refuse_conversations_only() {
    let dir = tempfile::tempdir().unwrap();
    let write =
        |value: Value| std::fs::write(dir.path().join("tokenizer_config.json"), value.to_string()).unwrap();
    let hello = [Message::new("user", "hello")];
    let named = serde_json::json!({"rag": "rag {{ messages[0].content }}", "tool_use": "tools"});
    let list = serde_json::json!([{"name": "rag", "template": "rag {{ messages[0].content }}"}]);
    for templates in [named, list] {
        write(serde_json::json!({"chat_template": templates}));
        let unnamed = ChatTemplate::read(dir.path(), None).unwrap().unwrap();
        let error = unnamed.render(&hello).unwrap_err();
        assert!(error.contains("`default`") && error.contains("rag"), "{error}");
        let rag = ChatTemplate::read(dir.path(), Some("rag")).unwrap().unwrap();
        assert_eq!(rag.render(&hello).as_deref(), Ok("rag hello"));
    }
    write(serde_json::json!({"chat_template": {"default": "d", "rag": "r"}}));
    assert_eq!(ChatTemplate::read(dir.path(), None).unwrap().unwrap().render(&hello).as_deref(), Ok("d"));
    for wrong in
        [serde_json::json!(7), serde_json::json!({"default": 7}), serde_json::json!([{"template": "t"}])]
    {
        write(serde_json::json!({"chat_template": wrong}));
        assert!(matches!(ChatTemplate::read(dir.path(), None), Err(Error::Config { .. })), "{wrong}");
    }
}

#[test]
fn variables_are_the_callers() {
    let source = "{{ 'think' if enable_thinking is not defined or enable_thinking else 'answer' }}{{ extra.a[1] if extra }}";
    let template = ChatTemplate::new("template", source).unwrap();
    let hello = [Message::new("user", "hello")];
    assert_eq!(template.render(&hello).as_deref(), Ok("think"));
    let template =
        template.variable("enable_thinking", false).variable("extra", serde_json::json!({"a": [1, 2]}));
    assert_eq!(template.render(&hello).as_deref(), Ok("answer2"));
}

#[test]
fn json_is_pythons() {
    let hello = [Message::new("user", "hello")];
    let rendered = |source: &str| ChatTemplate::new("some/file", source).unwrap().render(&hello);
    let json = rendered("{{ {'b': [1, 2.5, none, true], 'a': '<é>\"'} | tojson }}").unwrap();
    assert_eq!(json, r#"{"b": [1, 2.5, null, true], "a": "<é>\""}"#);
    let json = rendered("{{ {'a': [1, {}]} | tojson(indent=2) }}").unwrap();
    assert_eq!(json, "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
    assert!(rendered("{{ 1 | tojson(indent=99) }}").is_err());
    assert!(rendered("{{ 1 | tojson(other=true) }}").is_err());
}

#[test]
fn dates_are_of_today() {
    let hello = [Message::new("user", "hello")];
    let date = |format: &str| {
        let source = format!("{{{{ strftime_now('{format}') }}}}");
        ChatTemplate::new("some/file", &source).unwrap().render(&hello)
    };
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let rendered: u64 = date("%s").unwrap().parse().unwrap();
    assert!(rendered.abs_diff(seconds) < 3600, "{rendered} {seconds}");
    assert_eq!(date("%Y").unwrap().len(), 4);
    assert!(date("%").unwrap_err().contains("strftime_now"));
}

#[test]
fn broken_templates_say_what_is_wrong() {
    let error = ChatTemplate::new("some/file", "fine\n{% for m in %}").unwrap_err();
    assert!(matches!(error, Error::BadFile { .. }));
    assert!(error.to_string().contains("some/file") && error.to_string().contains("line 2"), "{error}");

    let hello = [Message::new("user", "hello")];
    let fails = |source: &str, words: &str| {
        let error = ChatTemplate::new("some/file", source).unwrap().render(&hello).unwrap_err();
        assert!(
            error.contains(words) && error.contains("some/file") && error.lines().count() == 1,
            "{error}"
        );
    };
    fails("{{ raise_exception('on purpose') }}", "on purpose");
    fails("a\nb\n{{ messages.nothing.more }}", "line 3");
    fails("{{ messages[0].content.no_method() }}", "no_method");
    fails("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion");
    fails("{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}", "fuel");
    fails("{{ ('x' * 99999999) * 99999999 }}", "");
    // The last message is to be continued, but the template leaves it out.
    let template = ChatTemplate::new("some/file", "{{ messages[0].content }}").unwrap();
    let open = [Message::new("user", "hello"), Message::new("assistant", "I")];
    assert!(template.render(&open).unwrap_err().contains("leaves the assistant's last message out"));
}
