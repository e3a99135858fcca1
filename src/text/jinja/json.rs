//! The filter `tojson`, which writes JSON as Python's `json.dumps` does.
use minijinja::Error;
use minijinja::value::{Kwargs, Value, ValueKind};

use super::{invalid, python};

/// The widest indentation. More is a mistake, or an attack on the memory.
const MAX_INDENT: usize = 16;

/// How JSON is written.
struct Style {
    indent: Option<String>,
    comma: String,
    colon: String,
    ascii: bool,
    sorted: bool,
}

/// Writes JSON, without the HTML escapes of Jinja's own filter. The options are those of transformers: `ensure_ascii`,
/// `indent`, `separators` and `sort_keys`.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let named = |given: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = match given {
            Some(value) => Some(value),
            None => options.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ascii = named(ensure_ascii, "ensure_ascii")?.is_some_and(|flag| flag.is_true());
    let sorted = named(None, "sort_keys")?.is_some_and(|flag| flag.is_true());
    let indent = named(indent, "indent")?.map(|indent| spaces(&indent)).transpose()?;
    let separators = named(separators, "separators")?.map(|pair| texts(&pair)).transpose()?;
    options.assert_all_used()?;
    let comma = if indent.is_some() { "," } else { ", " };
    let (comma, colon) = separators.unwrap_or_else(|| (comma.into(), ": ".into()));
    let style = Style { indent, comma, colon, ascii, sorted };
    let mut out = String::new();
    write(&mut out, value, &style, 0)?;
    Ok(Value::from_safe_string(out))
}

/// The indentation: a number of spaces, or a string.
fn spaces(indent: &Value) -> Result<String, Error> {
    let text = match indent.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let width =
                i64::try_from(indent.clone()).map_err(|_| invalid("tojson: indent is not a number"))?;
            " ".repeat(usize::try_from(width).unwrap_or(0).min(MAX_INDENT + 1))
        }
    };
    if text.len() > MAX_INDENT {
        Err(invalid(format!("tojson: indent={indent} is too wide")))
    } else {
        Ok(text)
    }
}

fn texts(pair: &Value) -> Result<(String, String), Error> {
    let items = python::items(pair).unwrap_or_default();
    match &items.iter().map(Value::as_str).collect::<Vec<_>>()[..] {
        [Some(comma), Some(colon)] => Ok(((*comma).to_owned(), (*colon).to_owned())),
        _ => Err(invalid("tojson: separators is not a pair of strings")),
    }
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if let Some(mut entries) = python::entries(value) {
        if style.sorted {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        return container(out, style, depth, ('{', '}'), &entries, |out, (key, value)| {
            string(out, &name(key)?, style.ascii);
            out.push_str(&style.colon);
            write(out, value, style, depth + 1)
        });
    }
    if let Some(items) = python::items(value) {
        return container(out, style, depth, ('[', ']'), &items, |out, item| {
            write(out, item, style, depth + 1)
        });
    }
    match value.kind() {
        ValueKind::String => string(out, value.as_str().unwrap_or_default(), style.ascii),
        ValueKind::Bool | ValueKind::None | ValueKind::Number => out.push_str(&scalar(value)),
        ValueKind::Undefined => return Err(invalid("tojson: an undefined value cannot be written")),
        kind => return Err(invalid(format!("tojson: {kind} cannot be written"))),
    }
    Ok(())
}

/// Writes the entries of a list or an object between brackets.
fn container<T>(
    out: &mut String,
    style: &Style,
    depth: usize,
    (open, close): (char, char),
    entries: &[T],
    mut entry: impl FnMut(&mut String, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    out.push(open);
    for (index, item) in entries.iter().enumerate() {
        if index > 0 {
            out.push_str(&style.comma);
        }
        line(out, depth + 1);
        entry(out, item)?;
    }
    if !entries.is_empty() {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

/// A number, a boolean or null.
fn scalar(value: &Value) -> String {
    match (value.kind(), python::as_float(value)) {
        (ValueKind::None, _) => "null".into(),
        (ValueKind::Bool, _) => if value.is_true() { "true" } else { "false" }.into(),
        (_, Some(x)) if x.is_nan() => "NaN".into(),
        (_, Some(x)) if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        _ => python::text(value),
    }
}

/// The name of an entry, which in Python may be any scalar.
fn name(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bool | ValueKind::None | ValueKind::Number => Ok(scalar(key)),
        kind => Err(invalid(format!("tojson: {kind} cannot be a key"))),
    }
}

fn string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
