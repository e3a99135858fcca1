//! Finding the part of a JSON schema at fault.
use serde_json::{Map, Value};

use super::error::Error;
use super::schema::parts;

/// The most parts that are tried.
const MOST: usize = 2000;

/// Keywords that the other parts may refer to.
const SHARED: [&str; 3] = ["$defs", "definitions", "$schema"];

/// The error of a schema that does not compile for this reason: it names the smallest part that fails for the same reason
/// when it is compiled alone.
pub(super) fn error(schema: &Value, reason: String, compile: impl Fn(&Value) -> Result<(), String>) -> Error {
    let (mut part, mut at, mut tried) = (schema, String::new(), 0);
    'smaller: loop {
        for (path, child) in parts(part) {
            tried += 1;
            if tried > MOST {
                break 'smaller;
            }
            let fails_alike = |why: String| reason.contains(first_line(&why));
            if compile(&with_shared(child, schema)).err().is_some_and(fails_alike) {
                at.push_str(&path);
                part = child;
                continue 'smaller;
            }
        }
        break;
    }
    let at = (!at.is_empty()).then(|| format!("#{at}"));
    Error::Invalid { what: "JSON schema", at, reason }
}

fn first_line(reason: &str) -> &str {
    reason.lines().next().unwrap_or_default()
}

/// A part as a schema of its own, to which the shared definitions of the whole are added.
fn with_shared(part: &Value, whole: &Value) -> Value {
    let (Value::Object(part_fields), Value::Object(whole)) = (part, whole) else { return part.clone() };
    let shared = whole.iter().filter(|(key, _)| SHARED.contains(&key.as_str()));
    let mut fields: Map<String, Value> = part_fields.clone();
    for (key, value) in shared {
        fields.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Value::Object(fields)
}
