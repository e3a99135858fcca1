//! The parts of a JSON schema, and its dates and times.
use serde_json::Value;

/// Keywords whose value is a schema.
const ONE: [&str; 6] =
    ["additionalProperties", "items", "additionalItems", "not", "contains", "propertyNames"];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
/// Keywords whose value names schemas.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// The schemas in a schema, with their paths from it.
pub(super) fn parts(schema: &Value) -> Vec<(String, &Value)> {
    let mut parts = Vec::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let key = key.as_str();
        match value {
            Value::Object(named) if NAMED.contains(&key) => {
                parts.extend(named.iter().map(|(name, value)| (format!("/{key}/{}", escaped(name)), value)));
            }
            Value::Array(list) if LIST.contains(&key) => {
                parts.extend(list.iter().enumerate().map(|(i, value)| (format!("/{key}/{i}"), value)));
            }
            value if ONE.contains(&key) => parts.push((format!("/{key}"), value)),
            _ => {}
        }
    }
    parts
}

/// A name as a step of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Replaces the formats of dates and times by patterns of those that exist. The library's own allow the 29th of February in
/// every year, and a 60th second at any time, which validators refuse. Years have four digits, without a 0 at first.
pub(super) fn with_real_dates(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if !fields.contains_key("pattern")
        && let Some(pattern) = fields.get("format").and_then(Value::as_str).and_then(pattern)
    {
        fields.remove("format");
        fields.insert("pattern".into(), format!("^(?:{pattern})$").into());
    }
    for (key, value) in fields.iter_mut() {
        let key = key.as_str();
        match value {
            Value::Object(named) if NAMED.contains(&key) => named.values_mut().for_each(with_real_dates),
            Value::Array(list) if LIST.contains(&key) => list.iter_mut().for_each(with_real_dates),
            value if ONE.contains(&key) => with_real_dates(value),
            _ => {}
        }
    }
}

const DATE: &str = concat!(
    "[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    "|(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29"
);
const TIME: &str =
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";

fn pattern(format: &str) -> Option<String> {
    match format {
        "date" => Some(DATE.into()),
        "time" => Some(TIME.into()),
        "date-time" => Some(format!("(?:{DATE})T{TIME}")),
        _ => None,
    }
}
