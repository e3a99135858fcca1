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

impl EftFields {
    pub(super) fn of(fields: Option<BTreeMap<String, Value>>) -> Result<Self, ApiError> {
        let mut found = Self::default();
        for (name, value) in fields.unwrap_or_default() {
            let wrong =
                |expected: &str| Err(ApiError::field(format!("eft.{name}"), format!("expected {expected}")));
            match (name.as_str(), value) {
                (_, Value::Null) => {}
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
        Ok(found)
    }

    /// Whether the request has a combination of its own.
    pub(super) fn changes(&self) -> bool {
        self.formula.is_some() || !self.numbers.is_empty()
    }
}
