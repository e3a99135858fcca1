//! Weighted sums of rows.
use tch::{TchError, Tensor};

use super::tensor::Result;

pub(super) fn linear(parts: &[(f32, Tensor)]) -> Result {
    let mut sum: Option<Tensor> = None;
    for (weight, rows) in parts {
        let rows = if *weight < 0.0 { &without_infinity(rows)? } else { rows };
        let weighted = || rows.f_mul_scalar(f64::from(*weight));
        sum = Some(match (sum, *weight) {
            // A product of its own, so that the result is never the caller's memory.
            (None, _) => weighted()?,
            (Some(mut sum), 1.0) => sum.f_add_(rows)?,
            (Some(mut sum), -1.0) => sum.f_sub_(rows)?,
            (Some(mut sum), _) => sum.f_add_(&weighted()?)?,
        });
    }
    sum.ok_or_else(|| TchError::Shape("there is nothing to add up".into()))
}

/// NaN for +∞, which would come out as −∞ and pass for a token that is excluded.
fn without_infinity(rows: &Tensor) -> Result {
    rows.f_nan_to_num(f64::NAN, f64::NAN, f64::NEG_INFINITY)
}
