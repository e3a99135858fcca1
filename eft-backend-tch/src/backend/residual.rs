//! The distribution from which speculative decoding draws after a rejection.
use tch::Tensor;

use super::softmax::log_softmax;
use super::tensor::Result;

/// `log max(softmax(target) − softmax(draft), 0)`, or `log_softmax(target)` where the distributions are equal.
pub(super) fn residual(target: &Tensor, draft: &Tensor) -> Result {
    let (target, draft) = (log_softmax(target)?, log_softmax(draft)?);
    // The NaN of an unsound row passes through all of these operations.
    let difference = target.f_exp()?.f_sub(&draft.f_exp()?)?.f_clamp_min(0.0)?;
    let equal = difference.f_amax([1], true)?.f_lt(f64::from(f32::MIN_POSITIVE))?;
    target.f_where_self(&equal, &difference.f_log()?)
}
