//! The distribution from which speculative decoding draws after a rejection.
use candle_core::{Result, Tensor};

use super::softmax::Softmax;
use super::tensor::{keep_unsound, scalar, where_cond};

/// `log max(softmax(target) − softmax(draft), 0)`, or `log_softmax(target)` where the distributions are equal.
pub(super) fn residual(target: &Tensor, draft: &Tensor) -> Result<Tensor> {
    let (target, draft) = (Softmax::of(target)?, Softmax::of(draft)?);
    let target_log_probs = target.log_softmax()?;
    let difference = (target_log_probs.exp()? - draft.log_softmax()?.exp()?)?;
    let zero = scalar(0f32, &difference)?;
    let difference = where_cond(&difference.broadcast_gt(&zero)?, &difference, &zero)?;
    let differs = difference.max_keepdim(1)?.broadcast_ge(&scalar(f32::MIN_POSITIVE, &difference)?)?;
    let differs = differs.broadcast_as(difference.shape())?;
    let residual = where_cond(&differs, &difference.log()?, &target_log_probs)?;
    // A comparison with NaN is false, so the choices above can hide an unsound row.
    keep_unsound(&residual, &(target.log_sum + draft.log_sum)?)
}
