//! Python's methods of strings and lists.
use minijinja::value::{Tuple, Value, ValueKind, from_args};
use minijinja::{Error, State};
use minijinja_contrib::pycompat;

use super::{invalid, python};

/// The longest padded text. More is a mistake, or an attack on the memory.
const MAX_WIDTH: usize = 1 << 16;

/// A method that the library does not have: those that follow, and those of its companion crate.
pub(super) fn unknown_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => of_string(text, method, args)?,
        (None, ValueKind::Seq) => of_list(value, method, args)?,
        _ => None,
    };
    match found {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn of_list(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    if method != "index" {
        return Ok(None);
    }
    let (wanted,): (Value,) = from_args(args)?;
    let items = python::items(list).unwrap_or_default();
    match items.iter().position(|item| *item == wanted) {
        Some(index) => Ok(Some(Value::from(index))),
        None => Err(invalid(format!("index: {} is not in the list", python::repr(&wanted)))),
    }
}

fn of_string(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let one = || -> Result<&str, Error> { Ok(from_args::<(&str,)>(args)?.0) };
    let none = || -> Result<(), Error> { from_args::<()>(args) };
    let at = |found: Option<usize>| match found {
        Some(at) => Ok(Value::from(text[..at].chars().count())),
        None => Err(invalid(format!("{method}: the substring is not found"))),
    };
    let triple = |parts: [&str; 3]| Value::from(Tuple::new(parts.map(Value::from).into()));
    Ok(Some(match method {
        "index" => at(text.find(one()?))?,
        "rindex" => at(text.rfind(one()?))?,
        "removeprefix" => Value::from(text.strip_prefix(one()?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(one()?).unwrap_or(text)),
        "partition" => {
            let separator = one()?;
            let parts = text.split_once(separator);
            triple(parts.map_or([text, "", ""], |(before, after)| [before, separator, after]))
        }
        "rpartition" => {
            let separator = one()?;
            let parts = text.rsplit_once(separator);
            triple(parts.map_or(["", "", text], |(before, after)| [before, separator, after]))
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            let most = most.and_then(|most| usize::try_from(most).ok());
            let mut parts = match (separator, most) {
                (Some(separator), Some(most)) => text.rsplitn(most + 1, separator).collect(),
                (Some(separator), None) => text.rsplit(separator).collect(),
                (None, most) => words_from_the_end(text, most.unwrap_or(usize::MAX)),
            };
            parts.reverse();
            Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
        }
        "casefold" => {
            none()?;
            Value::from(text.to_lowercase().replace('ß', "ss"))
        }
        "swapcase" => {
            none()?;
            let swapped = text.chars().flat_map(|c| -> Box<dyn Iterator<Item = char>> {
                if c.is_uppercase() { Box::new(c.to_lowercase()) } else { Box::new(c.to_uppercase()) }
            });
            Value::from(swapped.collect::<String>())
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let missing = missing(text, width, method)?;
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let missing = missing(text, width, method)?;
            // Python puts the odd character to the left if the width is odd.
            let left = match method {
                "ljust" => 0,
                "rjust" => missing,
                _ => missing / 2 + (missing & width & 1),
            };
            let fill = fill.unwrap_or(" ");
            Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
        }
        _ => return Ok(None),
    }))
}

/// How many characters a text lacks to a width.
fn missing(text: &str, width: usize, method: &str) -> Result<usize, Error> {
    if width > MAX_WIDTH {
        return Err(invalid(format!("{method}: a width of {width} is too large")));
    }
    Ok(width.saturating_sub(text.chars().count()))
}

/// At most `most` words from the end, the last first, and then the rest.
fn words_from_the_end(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() && words.len() < most {
        let start = rest
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        words.push(&rest[start..]);
        rest = rest[..start].trim_end();
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_from_the_end() {
        assert_eq!(words_from_the_end(" a  b c ", 1), ["c", " a  b"]);
        assert_eq!(words_from_the_end(" a  b c ", usize::MAX), ["c", "b", "a"]);
        assert!(words_from_the_end("  ", 3).is_empty());
    }
}
