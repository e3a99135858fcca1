//! Functions, filters and tests that behave differently in Python.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Object, ObjectRepr, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::{invalid, python};

/// `left % right`: formats a string, or returns the remainder of a division, whose sign is that of the divisor.
pub(super) fn percent(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        let mut arguments = match python::items(right).filter(|_| right.is_tuple()) {
            Some(arguments) => arguments,
            None => vec![right.clone()],
        };
        let text = without_repr(text, &mut arguments);
        return format(FormatStyle::Printf, &text, &arguments).map(Value::from);
    }
    let integer =
        |value: &Value| i128::try_from(value.clone()).ok().filter(|_| python::as_float(value).is_none());
    if let (Some(a), Some(b)) = (integer(left), integer(right)) {
        let remainder = a.checked_rem(b).ok_or_else(|| invalid("division by zero in `%`"))?;
        let other_sign = remainder != 0 && (remainder < 0) != (b < 0);
        return Ok(Value::from(if other_sign { remainder + b } else { remainder }));
    }
    let number = |value: &Value| f64::try_from(value.clone());
    match (number(left), number(right)) {
        (Ok(_), Ok(0.0)) => Err(invalid("division by zero in `%`")),
        (Ok(a), Ok(b)) => {
            let remainder = a % b;
            let other_sign = remainder != 0.0 && (remainder < 0.0) != (b < 0.0);
            Ok(Value::from(if other_sign { remainder + b } else { remainder }))
        }
        _ => Err(invalid(format!("`%` is not defined for {} and {}", left.kind(), right.kind()))),
    }
}

/// Replaces the conversions `%r`, which the library lacks, by `%s`, and their arguments by what `repr` makes of them.
fn without_repr(text: &str, arguments: &mut [Value]) -> String {
    let mut out = String::new();
    let (mut rest, mut next) = (text, 0);
    while let Some(at) = rest.find('%') {
        let specification = &rest[at + 1..];
        let end =
            specification.find(|c: char| !"#0- +.*123456789hlL".contains(c)).unwrap_or(specification.len());
        next += specification[..end].matches('*').count();
        let conversion = specification[end..].chars().next();
        out.push_str(&rest[..=at + end]);
        rest = &specification[end..];
        let Some(conversion) = conversion else { break };
        rest = &rest[conversion.len_utf8()..];
        match (conversion, arguments.get_mut(next)) {
            ('r', Some(argument)) => {
                *argument = Value::from(python::repr(argument));
                out.push('s');
            }
            _ => out.push(conversion),
        }
        next += usize::from(conversion != '%');
    }
    out + rest
}

/// The filter `attr`: an attribute of an object. The entries of a dictionary are not attributes.
pub(super) fn attribute(value: &Value, name: &Value) -> Result<Value, Error> {
    let is_dict = value.as_object().is_some_and(|object| object.type_name().contains("Map<"));
    let plain = !matches!(value.kind(), ValueKind::Map | ValueKind::Plain);
    if plain || is_dict { Ok(Value::UNDEFINED) } else { value.get_item(name) }
}

/// The filter `wordcount`: the number of runs of letters, digits and underscores.
pub(super) fn count_words(text: &Value) -> usize {
    let text = text.to_string();
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter(|word| !word.is_empty()).count()
}

/// The test `sequence`: whether a value has a length and entries.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
}

/// The test `iterable`: whether a value has items. Those of a string are its characters.
pub(super) fn is_iterable(value: &Value) -> bool {
    value.kind() == ValueKind::String || value.try_iter().is_ok()
}

/// The function `joiner`: returns a function that returns the separator, except when it is called first.
pub(super) fn joiner(separator: Option<Value>) -> Value {
    #[derive(Debug)]
    struct Joiner {
        separator: Value,
        used: AtomicBool,
    }

    impl Object for Joiner {
        fn repr(self: &Arc<Self>) -> ObjectRepr {
            ObjectRepr::Plain
        }

        fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
            let () = from_args(args)?;
            Ok(if self.used.swap(true, Ordering::Relaxed) { self.separator.clone() } else { Value::from("") })
        }
    }

    let separator = separator.unwrap_or_else(|| Value::from(", "));
    Value::from_object(Joiner { separator, used: AtomicBool::new(false) })
}

/// The function `cycler`: returns an object whose method `next` returns one value after the other, again and again.
pub(super) fn cycler(items: Rest<Value>) -> Result<Value, Error> {
    #[derive(Debug)]
    struct Cycler {
        items: Vec<Value>,
        position: AtomicUsize,
    }

    impl Cycler {
        fn current(&self) -> Value {
            self.items[self.position.load(Ordering::Relaxed)].clone()
        }
    }

    impl Object for Cycler {
        fn repr(self: &Arc<Self>) -> ObjectRepr {
            ObjectRepr::Plain
        }

        fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
            match name.as_str()? {
                "current" => Some(self.current()),
                "pos" => Some(Value::from(self.position.load(Ordering::Relaxed))),
                "items" => Some(Value::from(self.items.clone())),
                _ => None,
            }
        }

        fn call_method(
            self: &Arc<Self>,
            _: &mut State<'_, '_>,
            method: &str,
            args: &[Value],
        ) -> Result<Value, Error> {
            let () = from_args(args)?;
            match method {
                "next" => {
                    let value = self.current();
                    let next = (self.position.load(Ordering::Relaxed) + 1) % self.items.len();
                    self.position.store(next, Ordering::Relaxed);
                    Ok(value)
                }
                "reset" => {
                    self.position.store(0, Ordering::Relaxed);
                    Ok(Value::from(()))
                }
                _ => Err(Error::from(ErrorKind::UnknownMethod)),
            }
        }
    }

    if items.is_empty() {
        return Err(invalid("cycler: at least one value is needed"));
    }
    Ok(Value::from_object(Cycler { items: items.0, position: AtomicUsize::new(0) }))
}
