//! [`EftFields`]: what a request says about the combination, in its field `eft`.
use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ApiError;

/// The field `eft`: numbers that the combination's formula names, or a formula of its own, and whether each term's
/// contribution is reported.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EftFields {
    pub(super) formula: Option<String>,
    pub(super) attribution: bool,
    pub(super) numbers: BTreeMap<String, f64>,
}

/// The longest formula in bytes, and the most numbers: a formula is read once for each number.
const LONGEST: usize = 16_384;
const NUMBERS: usize = 64;

impl EftFields {
    pub(super) fn of(fields: Option<BTreeMap<String, Value>>) -> Result<Self, ApiError> {
        let mut found = Self::default();
        for (name, value) in fields.unwrap_or_default() {
            let wrong =
                |expected: &str| Err(ApiError::field(format!("eft.{name}"), format!("expected {expected}")));
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("formula", Value::String(formula)) if formula.len() > LONGEST => {
                    let reason = format!("has {} bytes; at most {LONGEST} are allowed", formula.len());
                    return Err(ApiError::field("eft.formula", reason));
                }
                ("formula", Value::String(formula)) => found.formula = Some(formula),
                ("formula", _) => return wrong("a formula of the models, as a string"),
                ("attribution", Value::Bool(attribution)) => found.attribution = attribution,
                ("attribution", _) => return wrong("true or false"),
                (_, Value::Number(number)) => match number.as_f64() {
                    Some(number) => {
                        found.numbers.insert(name, number);
                    }
                    None => return wrong("a number"),
                },
                _ => return wrong("a number, for a name in the combination's formula"),
            }
        }
        match found.numbers.len() {
            0..=NUMBERS => Ok(found),
            count => {
                Err(ApiError::field("eft", format!("has {count} numbers; at most {NUMBERS} are allowed")))
            }
        }
    }

    /// Whether the request has a combination of its own.
    pub(super) fn changes(&self) -> bool {
        self.formula.is_some() || !self.numbers.is_empty()
    }
}
