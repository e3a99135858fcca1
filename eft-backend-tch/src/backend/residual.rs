//! What a target distribution has more than a draft.
use tch::Tensor;

use super::mass::log_softmax;
use super::tensor::Result;

pub(super) fn residual(target: &Tensor, draft: &Tensor) -> Result {
    let (target, draft) = (log_softmax(target)?, log_softmax(draft)?);
    // NaN passes through all of it.
    let more = target.f_exp()?.f_sub(&draft.f_exp()?)?.f_clamp_min(0.0)?;
    let nothing = more.f_amax([1], true)?.f_lt(f64::from(f32::MIN_POSITIVE))?;
    target.f_where_self(&nothing, &more.f_log()?)
}
