//! What a target distribution has more than a draft.
use candle_core::{Result, Tensor};

use super::mass::Mass;
use super::tensor::{choose, poison, scalar};

pub(super) fn residual(target: &Tensor, draft: &Tensor) -> Result<Tensor> {
    let (target, draft) = (Mass::of(target)?, Mass::of(draft)?);
    let log_probs = target.log_softmax()?;
    let more = (log_probs.exp()? - draft.log_softmax()?.exp()?)?;
    let zero = scalar(0f32, &more)?;
    let more = choose(&more.broadcast_gt(&zero)?, &more, &zero)?;
    let is_left = more.max_keepdim(1)?.broadcast_ge(&scalar(f32::MIN_POSITIVE, &more)?)?;
    let residual = choose(&is_left.broadcast_as(more.shape())?, &more.log()?, &log_probs)?;
    // A comparison with NaN is false, which hid it.
    poison(&residual, &(target.log_sum + draft.log_sum)?)
}
