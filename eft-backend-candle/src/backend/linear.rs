//! Weighted sums of rows.
use candle_core::{Result, Tensor, bail};

use super::tensor::{choose, scalar};

pub(super) fn linear(parts: &[(f32, Tensor)]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (weight, rows) in parts {
        let rows = if *weight < 0.0 { &without_infinity(rows)? } else { rows };
        sum = Some(match (sum, *weight) {
            // A product of its own, so that the result is never the caller's memory.
            (None, weight) => rows.affine(f64::from(weight), 0.0)?,
            (Some(sum), 1.0) => (sum + rows)?,
            (Some(sum), -1.0) => (sum - rows)?,
            (Some(sum), weight) => (sum + rows.affine(f64::from(weight), 0.0)?)?,
        });
    }
    let Some(sum) = sum else { bail!("nothing to add up") };
    Ok(sum)
}

/// NaN for +∞, which would come out as −∞ and pass for a token that is excluded.
fn without_infinity(rows: &Tensor) -> Result<Tensor> {
    choose(&rows.broadcast_le(&scalar(f32::MAX, rows)?)?, rows, &scalar(f32::NAN, rows)?)
}
