//! Jinja as chat templates expect it: with Python's methods, and the functions that transformers adds.
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// The number of instructions after which a rendering is stopped. Long conversations take tens of thousands.
const FUEL: u64 = 5_000_000;

pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.set_fuel(Some(FUEL));
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", strftime_now);
    env.add_filter("tojson", tojson);
    Ok(env)
}

/// Replaces the `generation` blocks of transformers, which mark what the assistant says, by blocks that do nothing.
pub(super) fn without_generation_blocks(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        text.push_str(before);
        text.push_str("{%");
        rest = after;
        let Some((tag, after)) = after.split_once("%}") else { break };
        let name = tag.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        let same = match name.trim() {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        text.push_str(&tag.replacen(name.trim(), same, 1));
        text.push_str("%}");
        rest = after;
    }
    text + rest
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {e}")))
}

/// Writes JSON as Python's `json.dumps(…, ensure_ascii=False)` does, without the HTML escapes of Jinja's own filter.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: ensure_ascii is not supported"));
    }
    let text = match indent {
        Some(width) if width <= 16 => {
            written(value, PrettyFormatter::with_indent(" ".repeat(width).as_bytes()))
        }
        Some(width) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("tojson: indent={width} is too wide"),
            ));
        }
        None => written(value, Spaced(CompactFormatter)),
    };
    let wrong = |e: String| Error::new(ErrorKind::BadSerialization, format!("tojson: {e}"));
    let text =
        String::from_utf8(text.map_err(|e| wrong(e.to_string()))?).map_err(|e| wrong(e.to_string()))?;
    Ok(Value::from_safe_string(text))
}

fn written(value: &Value, formatter: impl Formatter) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
    Ok(text)
}

/// Puts a space after commas and colons, as Python does.
struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.begin_array_value(w, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        w.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::without_generation_blocks;

    #[test]
    fn generation_blocks_do_nothing() {
        let source = "a {%- generation %} b {% endgeneration -%} c {% set generation = 1 %}{%generation%}{{ generation }}{%endgeneration%}{% ";
        let expected = "a {%- if true %} b {% endif -%} c {% set generation = 1 %}{%if true%}{{ generation }}{%endif%}{% ";
        assert_eq!(without_generation_blocks(source), expected);
    }
}
