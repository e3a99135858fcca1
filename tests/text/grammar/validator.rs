//! A plain validator of the keywords of JSON Schema that the tests use.
use serde_json::Value;

/// Returns why a value is not valid under a schema, where `root` is the document that references point into.
pub(super) fn fault(schema: &Value, value: &Value, root: &Value) -> Option<String> {
    let wrong = |keyword: &str| Some(format!("{keyword}: {value} under {schema}"));
    let fields = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return wrong("false"),
        schema => schema.as_object().expect("a schema is an object"),
    };
    for (keyword, expected) in fields {
        let valid = match keyword.as_str() {
            "$schema" | "$defs" => true,
            "$ref" => {
                let pointer = expected.as_str().unwrap().trim_start_matches('#');
                return fault(root.pointer(pointer).unwrap(), value, root);
            }
            "type" => {
                let list = expected.as_array().map_or(std::slice::from_ref(expected), Vec::as_slice);
                list.iter().any(|name| is_of(value, name.as_str().unwrap()))
            }
            "const" => equal(value, expected),
            "enum" => expected.as_array().unwrap().iter().any(|one| equal(value, one)),
            "anyOf" => expected.as_array().unwrap().iter().any(|one| fault(one, value, root).is_none()),
            "allOf" => expected.as_array().unwrap().iter().all(|one| fault(one, value, root).is_none()),
            "minimum" => value.as_f64().is_none_or(|x| x >= expected.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|x| x <= expected.as_f64().unwrap()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|x| x > expected.as_f64().unwrap()),
            "exclusiveMaximum" => value.as_f64().is_none_or(|x| x < expected.as_f64().unwrap()),
            "multipleOf" => value.as_f64().is_none_or(|x| x % expected.as_f64().unwrap() == 0.0),
            "minLength" => value.as_str().is_none_or(|x| x.chars().count() as u64 >= size(expected)),
            "maxLength" => value.as_str().is_none_or(|x| x.chars().count() as u64 <= size(expected)),
            // The whole text matches one of the patterns of `schemas.py` or a format. Those are checked there.
            "pattern" | "format" => value.is_string(),
            "minItems" => value.as_array().is_none_or(|x| x.len() as u64 >= size(expected)),
            "maxItems" => value.as_array().is_none_or(|x| x.len() as u64 <= size(expected)),
            "maxProperties" => value.as_object().is_none_or(|x| x.len() as u64 <= size(expected)),
            "required" => value.as_object().is_none_or(|object| {
                expected.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "prefixItems" | "items" | "properties" | "patternProperties" | "additionalProperties" => {
                match parts(fields, keyword, value) {
                    Some(parts) => {
                        match parts.into_iter().find_map(|(schema, part)| fault(schema, part, root)) {
                            Some(why) => return Some(why),
                            None => true,
                        }
                    }
                    None => true,
                }
            }
            other => panic!("the validator does not know `{other}`"),
        };
        if !valid {
            return wrong(keyword);
        }
    }
    None
}

fn size(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|x| x.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type is called `{other}`"),
    }
}

/// Whether two values are equal; numbers are, whatever they are written like.
fn equal(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

/// The parts of a value that a keyword applies to, with their schemas.
fn parts<'a>(
    fields: &'a serde_json::Map<String, Value>,
    keyword: &str,
    value: &'a Value,
) -> Option<Vec<(&'a Value, &'a Value)>> {
    let own = &fields[keyword];
    let before = fields.get("prefixItems").and_then(Value::as_array);
    let named = fields.get("properties").and_then(Value::as_object);
    match keyword {
        "prefixItems" => Some(before?.iter().zip(value.as_array()?).collect()),
        "items" => {
            Some(value.as_array()?.iter().skip(before.map_or(0, Vec::len)).map(|x| (own, x)).collect())
        }
        // The tests have one pattern, of names that begin so; whether the rest of a name matches is checked by `schemas.py`.
        "patternProperties" => {
            let schema = own.as_object()?.get("^_[a-z]{1,8}$").expect("the pattern of the tests");
            Some(
                value
                    .as_object()?
                    .iter()
                    .filter(|(k, _)| k.starts_with('_'))
                    .map(|(_, x)| (schema, x))
                    .collect(),
            )
        }
        "properties" => Some(value.as_object()?.iter().filter_map(|(k, x)| Some((own.get(k)?, x))).collect()),
        _ => {
            let pattern = fields.contains_key("patternProperties");
            let other = |name: &String| {
                named.is_none_or(|named| !named.contains_key(name)) && !(pattern && name.starts_with('_'))
            };
            Some(value.as_object()?.iter().filter(|(k, _)| other(k)).map(|(_, x)| (own, x)).collect())
        }
    }
}
