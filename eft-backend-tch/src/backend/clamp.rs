//! Bounds on finite scores.
use tch::Tensor;

use super::tensor::Result;

/// Clamps finite scores to `[low, high]`; −∞, +∞ and NaN are unchanged.
pub(super) fn clamp(scores: &Tensor, low: f32, high: f32) -> Result {
    let clamped = scores.f_clamp(f64::from(low), f64::from(high))?;
    clamped.f_where_self(&scores.f_isfinite()?, scores)
}
