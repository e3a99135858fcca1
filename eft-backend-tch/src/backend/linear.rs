//! Weighted sums of score rows.
use tch::{TchError, Tensor};

use super::tensor::Result;

/// `Σₖ wₖ·rowsₖ`.
pub(super) fn linear(terms: &[(f32, Tensor)]) -> Result {
    let mut sum: Option<Tensor> = None;
    for (weight, rows) in terms {
        let rows = if *weight < 0.0 { &infinity_to_nan(rows)? } else { rows };
        let weighted = || rows.f_mul_scalar(f64::from(*weight));
        sum = Some(match (sum, *weight) {
            // A product even by 1, since the sum is then added to in place and must not be the caller's memory.
            (None, _) => weighted()?,
            (Some(mut sum), 1.0) => sum.f_add_(rows)?,
            (Some(mut sum), -1.0) => sum.f_sub_(rows)?,
            (Some(mut sum), _) => sum.f_add_(&weighted()?)?,
        });
    }
    sum.ok_or_else(|| TchError::Shape("a sum needs at least one term".into()))
}

/// Turns +∞ into NaN. A negative weight would turn it into −∞, the score of an excluded token.
fn infinity_to_nan(rows: &Tensor) -> Result {
    rows.f_nan_to_num(f64::NAN, f64::NAN, f64::NEG_INFINITY)
}
