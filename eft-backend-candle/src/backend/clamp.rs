//! Bounds on finite scores.
use candle_core::{Result, Tensor};

use super::tensor::{scalar, where_cond};

/// Clamps finite scores to `[low, high]`; −∞, +∞ and NaN are unchanged.
pub(super) fn clamp(scores: &Tensor, low: f32, high: f32) -> Result<Tensor> {
    let (low, high) = (scalar(low, scores)?, scalar(high, scores)?);
    let clamped = scores.broadcast_maximum(&low)?.broadcast_minimum(&high)?;
    // A comparison with NaN is false, so NaN counts as not finite.
    let finite = scores.abs()?.broadcast_le(&scalar(f32::MAX, scores)?)?;
    where_cond(&finite, &clamped, scores)
}
