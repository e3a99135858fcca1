//! Checks of the numbers that statistics are computed from.
use super::StatsError;

/// Checks that all numbers are finite.
pub(super) fn finite(what: &'static str, numbers: &[f64]) -> Result<(), StatsError> {
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what, index, value: numbers[index].to_string() }),
        None => Ok(()),
    }
}

/// Checks that a list has one entry for each item.
pub(super) fn per_item(what: &'static str, items: usize, got: usize) -> Result<(), StatsError> {
    match got == items {
        true => Ok(()),
        false => Err(StatsError::Lengths { what, expected: items, got }),
    }
}

/// Checks that there are at least `needed` of something.
pub(super) fn at_least(what: &'static str, needed: usize, got: usize) -> Result<(), StatsError> {
    match got >= needed {
        true => Ok(()),
        false => Err(StatsError::TooFew { what, needed, got }),
    }
}

/// Checks that a statistic of finite numbers is itself finite.
pub(super) fn no_overflow(statistic: &'static str, value: f64) -> Result<f64, StatsError> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(StatsError::Overflow { statistic }),
    }
}
