//! How deeply the descriptions of grammars are nested: the library reads them by recursion.
use serde_json::Value;

use super::schema::parts;

/// The deepest nesting that is read.
const MOST: usize = 100;

/// Why a description that is nested too deeply is refused.
pub(super) fn reason() -> String {
    format!("it is nested more than {MOST} levels deep")
}

/// Whether a regular expression is nested too deeply.
pub(super) fn of_regex(pattern: &str) -> bool {
    let (mut depth, mut escaped) = (0usize, false);
    pattern.bytes().any(|byte| {
        match byte {
            _ if escaped => {}
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
        depth > MOST
    })
}

/// Whether a Lark grammar is nested too deeply, outside of its strings or in a regular expression.
pub(super) fn of_lark(grammar: &str) -> bool {
    let mut depth = 0usize;
    let mut rest = grammar;
    while let Some(at) = rest.find(['(', '[', '{', ')', ']', '}', '"', '/']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match mark {
            b'"' | b'/' if after.starts_with('/') && mark == b'/' => {
                rest = after.split_once('\n').map_or("", |(_, rest)| rest);
            }
            b'"' | b'/' => {
                let end = literal(after, mark);
                if mark == b'/' && of_regex(&after[..end]) {
                    return true;
                }
                rest = after.get(end + 1..).unwrap_or("");
            }
            b'(' | b'[' | b'{' => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        if depth > MOST {
            return true;
        }
    }
    false
}

/// The length of a literal up to its closing mark, or to the end of its line.
fn literal(text: &str, mark: u8) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = (byte == mark && !escaped) || byte == b'\n';
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// The path of the first part of a schema with a pattern that is nested too deeply.
pub(super) fn of_schema(schema: &Value) -> Option<String> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let mut patterns = patterns.into_iter().flat_map(|named| named.keys().map(String::as_str));
    if schema.get("pattern").and_then(Value::as_str).is_some_and(of_regex) || patterns.any(of_regex) {
        return Some(String::new());
    }
    parts(schema).into_iter().find_map(|(path, part)| of_schema(part).map(|rest| path + &rest))
}
