//! Weighted sums of score rows.
use candle_core::{Result, Tensor, bail};

use super::tensor::{scalar, where_cond};

/// `Σₖ wₖ·rowsₖ`.
pub(super) fn linear(terms: &[(f32, Tensor)]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (weight, rows) in terms {
        let rows = if *weight < 0.0 { &infinity_to_nan(rows)? } else { rows };
        sum = Some(match (sum, *weight) {
            // A product even by 1, since the result must not be the caller's memory.
            (None, weight) => rows.affine(f64::from(weight), 0.0)?,
            (Some(sum), 1.0) => (sum + rows)?,
            (Some(sum), -1.0) => (sum - rows)?,
            (Some(sum), weight) => (sum + rows.affine(f64::from(weight), 0.0)?)?,
        });
    }
    let Some(sum) = sum else { bail!("a sum needs at least one term") };
    Ok(sum)
}

/// Turns +∞ into NaN. A negative weight would turn it into −∞, the score of an excluded token.
fn infinity_to_nan(rows: &Tensor) -> Result<Tensor> {
    where_cond(&rows.broadcast_le(&scalar(f32::MAX, rows)?)?, rows, &scalar(f32::NAN, rows)?)
}
