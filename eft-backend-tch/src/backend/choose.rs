//! Score rows composed of two others.
use tch::Tensor;

use super::tensor::Result;

/// `inside` where `kept` is above −∞, else `outside` (−∞ if `None`); NaN where `kept` is NaN.
pub(super) fn choose(kept: &Tensor, inside: &Tensor, outside: Option<&Tensor>) -> Result {
    let excluded = kept.f_eq(f64::NEG_INFINITY)?;
    let chosen = match outside {
        Some(outside) => outside.f_where_self(&excluded, inside)?,
        None => inside.f_masked_fill(&excluded, f64::NEG_INFINITY)?,
    };
    chosen.f_masked_fill(&kept.f_isnan()?, f64::NAN)
}
