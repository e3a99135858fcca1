//! Operations that return chosen tokens, or the log-probs of given ones.
use eft_core::{Pick, TokenId};
use tch::{Kind, Tensor};

use super::softmax::Softmax;
use super::tensor::{Result, integers, numbers, sent, wide};

/// The first token of each row in the total order.
pub(super) fn argmax(scores: &Tensor) -> Result<Vec<Pick>> {
    // Of equal scores libtorch returns the first.
    let tokens = scores.f_argmax(1, true)?;
    picks(&tokens, &Softmax::of(scores)?.log_sum.f_neg()?)
}

/// A token of each row, drawn with the row's uniform.
pub(super) fn draw(scores: &Tensor, uniforms: &[f64]) -> Result<Vec<Pick>> {
    let Softmax { shifted, weights, log_sum, .. } = Softmax::of(scores)?;
    let (wide, width) = (wide(scores), scores.size2()?.1);
    let cumulative = weights.f_cumsum(1, wide)?;
    let sum = cumulative.f_narrow(1, width - 1, 1)?;
    // Converted before they are moved, since Metal has no `f64`.
    let uniforms = sent(&Tensor::f_from_slice(uniforms)?.f_totype(wide)?, scores.device())?;
    let targets = uniforms.f_view([-1, 1])?.f_mul(&sum)?;
    // The product of a uniform and the sum can round up to the sum, which no cumulative sum exceeds.
    let epsilon = if wide == Kind::Double { f64::EPSILON } else { f32::EPSILON.into() };
    let below = sum.f_mul_scalar(1.0 - epsilon)?;
    let targets = targets.f_minimum(&below)?;
    let tokens = targets.f_searchsorted(&cumulative, false, true, "right", None::<&Tensor>)?;
    // The index found in an unsound row may be past the last token.
    let tokens = tokens.f_clamp_max(width - 1)?;
    picks(&tokens, &shifted.f_gather(1, &tokens, false)?.f_sub(&log_sum)?)
}

/// The log-probs of the given tokens, one list for each row.
pub(super) fn log_probs(scores: &Tensor, tokens: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let width = scores.size2()?.1 as usize;
    let requested =
        || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
    let rows = integers(requested().map(|(row, _)| row), scores.device())?;
    let entries = integers(requested().map(|(row, token)| row * width + token as usize), scores.device())?;
    let Softmax { shifted, log_sum, .. } = Softmax::of(scores)?;
    let log_probs = shifted.f_view([-1])?.f_index_select(0, &entries)?;
    let log_probs = log_probs.f_sub(&log_sum.f_view([-1])?.f_index_select(0, &rows)?)?;
    let mut numbers = numbers::<f32>(&log_probs)?.into_iter();
    Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
}

/// The picks of tokens and their log-probs, `(n, 1)` each.
fn picks(tokens: &Tensor, log_probs: &Tensor) -> Result<Vec<Pick>> {
    let tokens: Vec<i64> = numbers(tokens)?;
    let log_probs: Vec<f32> = numbers(log_probs)?;
    let picks = tokens.into_iter().zip(log_probs);
    Ok(picks.map(|(token, log_prob)| Pick { token: token as TokenId, log_prob }).collect())
}
