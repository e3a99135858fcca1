//! Jinja as chat templates expect it: with Python's semantics, and the functions that transformers adds.
mod functions;
mod json;
mod methods;
mod python;
mod source;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, escape_formatter};

pub(super) use source::rewritten;

/// The number of instructions after which a rendering is stopped. Long conversations take tens of thousands.
const FUEL: u64 = 5_000_000;

/// The environment of a template whose source has been [`rewritten`].
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.set_fuel(Some(FUEL));
    env.set_unknown_method_callback(methods::unknown_method);
    env.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            out.write_str(&python::text(value)).map_err(|_| Error::from(ErrorKind::WriteFailure))
        }
        _ => escape_formatter(out, state, value),
    });
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", strftime_now);
    env.add_function("joiner", functions::joiner);
    env.add_function("cycler", functions::cycler);
    env.add_function(source::PERCENT, functions::percent);
    env.add_filter("tojson", json::tojson);
    env.add_filter("pprint", python::pretty);
    env.add_filter("attr", functions::attribute);
    env.add_filter("wordcount", functions::count_words);
    env.add_test("sequence", functions::is_sequence);
    env.add_test("iterable", functions::is_iterable);
    Ok(env)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {e}")))
}

/// An error of an operation on values.
fn invalid(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}
