//! Broken grammars and schemas.
use eft::Vocab;
use eft::grammar::{Grammar, GrammarTokens};

use super::*;

fn tokens() -> GrammarTokens {
    let bytes = (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]);
    GrammarTokens::of_vocab(&Vocab::new("bytes", bytes).unwrap().with_eos([256]).unwrap()).unwrap()
}

fn short(error: &str, input: &str) {
    let input: String = input.chars().take(200).collect();
    assert!(error.len() < 1500 && !error.contains("panic"), "{input}: {error}");
}

#[test]
fn schemas() {
    let tokens = tokens();
    let good = json!({"type": "object", "properties": {"list": {"type": "array", "items": {
        "type": "string", "minLength": 1, "maxLength": 9}}}, "required": ["list"]});
    let text = good.to_string();
    assert!(Grammar::json_schema(&tokens, &text).is_ok());
    for broken in garbled(&text) {
        // A file that is no text is refused before.
        let Ok(broken) = String::from_utf8(broken) else { continue };
        let error = Grammar::json_schema(&tokens, &broken).unwrap_err().to_string();
        assert!(error.contains("JSON schema") && error.contains("line"), "{error}");
        short(&error, &broken);
    }
    for (field, value) in [
        ("type", json!(5)),
        ("type", json!("strnig")),
        ("type", json!([5])),
        ("minLength", json!(-1)),
        ("minLength", json!(1.5)),
        ("minLength", json!("x")),
        ("minLength", json!(1e30)),
        ("maxLength", json!([])),
        ("pattern", json!(5)),
        ("pattern", json!("(a")),
        ("pattern", json!("a{3,1}")),
        ("pattern", json!("[z-a]")),
        ("pattern", json!("(".repeat(10_000) + "a" + &")".repeat(10_000))),
        ("format", json!(7)),
        ("format", json!("nonsense")),
        ("enum", json!(5)),
        ("anyOf", json!(5)),
        ("anyOf", json!({"type": "string"})),
        ("allOf", json!([7])),
        ("$ref", json!(5)),
        ("$ref", json!("#/missing")),
        ("$ref", json!("http://example.com/schema.json")),
        ("properties", json!([])),
        ("required", json!("list")),
        ("prefixItems", json!(5)),
    ] {
        let mut schema = good.clone();
        let part = &mut schema["properties"]["list"]["items"];
        // Some keywords count for other types only.
        if ["properties", "required"].contains(&field) {
            *part = json!({"type": "object"});
        }
        if field == "prefixItems" {
            *part = json!({"type": "array"});
        }
        part[field] = value;
        let schema = schema.to_string();
        let refused = Grammar::json_schema(&tokens, &schema);
        let error = refused.err().unwrap_or_else(|| panic!("accepted: {schema}")).to_string();
        assert!(error.contains("#/properties/list/items"), "{schema}: {error}");
        short(&error, &schema);
    }
    // Schemas that are right, but too large to be followed, are refused, or compiled with little memory.
    for (field, value) in [("minItems", json!(1_000_000_000u64)), ("maxItems", json!(1_000_000u64))] {
        let schema = json!({"type": "array", "items": {"type": "integer"}, field: value}).to_string();
        if let Err(error) = Grammar::json_schema(&tokens, &schema) {
            short(&error.to_string(), &schema);
        }
    }
    let deep = format!("{}true{}", "{\"items\":".repeat(120), "}".repeat(120));
    if let Err(error) = Grammar::json_schema(&tokens, &deep) {
        short(&error.to_string(), &deep);
    }
}

#[test]
fn regular_expressions_and_lark_grammars() {
    let tokens = tokens();
    let nested = |open: &str, close: &str| format!("{}a{}", open.repeat(100_000), close.repeat(100_000));
    let patterns: Vec<String> = [
        "(a",
        "a)",
        "[a",
        "[z-a]",
        "a{3,1}",
        "a{",
        "*a",
        "\\",
        "\\p{Nonsense}",
        "(?<n",
        "(?P<1>a)",
        "\\1",
        "[[:nonsense:]]",
        "(?z)a",
        "\\x{110000}",
        "\\u12",
        "a{99999999999}",
        "(((a{1000}){1000}){1000}){1000}",
    ]
    .map(String::from)
    .into_iter()
    .chain([nested("(", ")"), nested("(a|", ")"), nested("[", "]"), nested("(?i:", ")")])
    .collect();
    let mut accepted = Vec::new();
    for pattern in patterns {
        let shown: String = pattern.chars().take(40).collect();
        let Err(error) = Grammar::regex(&tokens, &pattern) else {
            accepted.push(shown);
            continue;
        };
        let error = error.to_string();
        assert!(error.contains("regular expression"), "{shown}: {error}");
        short(&error, &pattern);
    }
    let good =
        "start: pair (\",\" pair){0,3}\npair: NAME \"=\" number\nNAME: /[a-z]+/\nnumber: /[0-9]{1,4}/\n";
    assert!(Grammar::lark(&tokens, good).is_ok());
    let mut broken: Vec<String> = [10, 13, 17, 21, 35, 48, 55].map(|at| good[..at].to_owned()).into();
    for (from, to) in [
        ("start", "begin"),
        ("pair:", "pear:"),
        ("NAME:", "name:"),
        ("NAME:", "NAME"),
        ("/[a-z]+/", "/[a-z+/"),
        ("{0,3}", "{3,0}"),
        ("{0,3}", "{0,99999999999}"),
        ("(", ""),
        (")", ""),
        ("\"=\"", "\"="),
        ("number:", "1:"),
        ("/[0-9]{1,4}/", "<nonsense>"),
        ("/[0-9]{1,4}/", "%json {"),
        ("/[0-9]{1,4}/", "%json {\"type\": 5}"),
        ("/[0-9]{1,4}/", "%regex {"),
        ("start:", "%import nonsense\nstart:"),
        ("number:", "pair:"),
    ] {
        broken.push(good.replacen(from, to, 1));
    }
    broken.extend([String::new(), " \n".into(), "\u{0}".into(), format!("start: {}", nested("(", ")"))]);
    for grammar in broken {
        let shown: String = grammar.chars().take(120).collect();
        let Err(error) = Grammar::lark(&tokens, &grammar) else {
            accepted.push(shown);
            continue;
        };
        let error = error.to_string();
        assert!(error.contains("Lark grammar"), "{shown}: {error}");
        short(&error, &grammar);
    }
    // A few changes leave a grammar that is right.
    assert!(accepted.len() <= 8, "{accepted:#?}");
}
