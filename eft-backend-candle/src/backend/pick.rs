//! Operations that return chosen tokens, or the log-probs of given ones.
use candle_core::{Result, Tensor};
use eft_core::{Pick, TokenId};

use super::constants::Constants;
use super::select::select;
use super::softmax::Softmax;
use super::tensor::{numbers, scalar, where_cond};

/// The first token of each row in the total order.
pub(super) fn argmax(constants: &Constants, scores: &Tensor) -> Result<Vec<Pick>> {
    let softmax = Softmax::of(scores)?;
    picks(&first_with_score(constants, scores, &softmax.max)?, &softmax.log_sum.neg()?)
}

/// The lowest id of each row that has the row's `score`, `(n, 1)`. Candle's own `argmax` may return any of several.
pub(super) fn first_with_score(constants: &Constants, scores: &Tensor, score: &Tensor) -> Result<Tensor> {
    let ids = constants.ids(scores.dim(1)?)?;
    where_cond(&scores.broadcast_eq(score)?, &ids, &scalar(u32::MAX, scores)?)?.min_keepdim(1)
}

/// A token of each row, drawn with the row's uniform.
pub(super) fn draw(constants: &Constants, scores: &Tensor, uniforms: &[f64]) -> Result<Vec<Pick>> {
    let softmax = Softmax::of(scores)?;
    let uniforms: Vec<_> = uniforms.iter().map(|uniform| *uniform as f32).collect();
    let uniforms = Tensor::from_vec(uniforms, (scores.dim(0)?, 1), scores.device())?;
    let tokens = select(constants, &softmax.weights, &(uniforms * &softmax.sum)?)?;
    picks(&tokens, &(softmax.shifted.gather(&tokens, 1)? - softmax.log_sum)?)
}

/// The log-probs of the given tokens, one list for each row.
pub(super) fn log_probs(scores: &Tensor, tokens: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let width = scores.dim(1)?;
    let device = scores.device();
    let requested =
        || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
    let rows = Tensor::from_iter(requested().map(|(row, _)| row as i64), device)?;
    let entries =
        Tensor::from_iter(requested().map(|(row, token)| (row * width + token as usize) as i64), device)?;
    let softmax = Softmax::of(scores)?;
    let shifted = softmax.shifted.flatten_all()?.index_select(&entries, 0)?;
    let log_sums = softmax.log_sum.flatten_all()?.index_select(&rows, 0)?;
    let mut numbers = (shifted - log_sums)?.to_vec1()?.into_iter();
    Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
}

/// The picks of tokens and their log-probs, `(n, 1)` each.
fn picks(tokens: &Tensor, log_probs: &Tensor) -> Result<Vec<Pick>> {
    let tokens: Vec<TokenId> = numbers(tokens)?;
    let log_probs: Vec<f32> = numbers(log_probs)?;
    let picks = tokens.into_iter().zip(log_probs);
    // The index found in an unsound row may not be a token id.
    Ok(picks.map(|(t, log_prob)| Pick { token: if log_prob.is_nan() { 0 } else { t }, log_prob }).collect())
}
