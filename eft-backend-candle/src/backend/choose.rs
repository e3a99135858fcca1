//! Score rows composed of two others.
use candle_core::{Result, Tensor};

use super::tensor::{scalar, where_cond};

/// `inside` where `kept` is above −∞, else `outside` (−∞ if `None`); NaN where `kept` is NaN.
pub(super) fn choose(kept: &Tensor, inside: &Tensor, outside: Option<&Tensor>) -> Result<Tensor> {
    let excluded = scalar(f32::NEG_INFINITY, kept)?;
    let chosen = where_cond(&kept.broadcast_gt(&excluded)?, inside, outside.unwrap_or(&excluded))?;
    // NaN alone is not greater than or equal to −∞.
    where_cond(&kept.broadcast_ge(&excluded)?, &chosen, &scalar(f32::NAN, kept)?)
}
