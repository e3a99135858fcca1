//! Checks of the numbers that combinations are given.
use crate::{Error, Result};

/// Refuses a strength that is not a finite number.
pub(super) fn finite(name: &'static str, value: f32) -> Result<f64> {
    if value.is_finite() {
        return Ok(f64::from(value));
    }
    Err(Error::parameter(name, value, "a finite number"))
}

/// Refuses weights that are not those of a convex combination: finite, none below 0, with a sum of 1 up to rounding.
pub(super) fn convex(weights: &[f32]) -> Result<()> {
    if weights.is_empty() {
        return Err(Error::shape("terms of a convex combination", "at least one", 0));
    }
    if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(Error::parameter("weight", weight, "a finite number, 0 or above"));
    }
    let sum: f32 = weights.iter().sum();
    if (sum - 1.0).abs() > 1e-3 {
        return Err(Error::parameter("sum of the weights", sum, "1"));
    }
    Ok(())
}
