//! Tokens chosen, and log-probabilities asked for: what crosses to the host.
use eft_core::{Pick, TokenId};
use tch::{Kind, Tensor};

use super::mass::Mass;
use super::tensor::{Result, integers, numbers, wide};

pub(super) fn argmax(scores: &Tensor) -> Result<Vec<Pick>> {
    // Of several largest scores the first.
    let tokens = scores.f_argmax(1, true)?;
    picks(&tokens, &Mass::of(scores)?.log_sum.f_neg()?)
}

pub(super) fn draw(scores: &Tensor, uniforms: &[f64]) -> Result<Vec<Pick>> {
    let Mass { shifted, weights, log_sum, .. } = Mass::of(scores)?;
    let (wide, width) = (wide(scores), scores.size2()?.1);
    let ends = weights.f_cumsum(1, wide)?;
    let sum = ends.f_narrow(1, width - 1, 1)?;
    // To the device in a type that it has.
    let uniforms = Tensor::f_from_slice(uniforms)?.f_totype(wide)?.f_to(scores.device())?;
    let targets = uniforms.f_view([-1, 1])?.f_mul(&sum)?;
    // A product of a uniform can round to the sum, which no running sum exceeds.
    let epsilon = if wide == Kind::Double { f64::EPSILON } else { f32::EPSILON.into() };
    let below = sum.f_mul_scalar(1.0 - epsilon)?;
    let targets = targets.f_minimum(&below)?;
    let tokens = targets.f_searchsorted(&ends, false, true, "right", None::<&Tensor>)?;
    // What is found in an unsound row need not be a token.
    let tokens = tokens.f_clamp_max(width - 1)?;
    picks(&tokens, &shifted.f_gather(1, &tokens, false)?.f_sub(&log_sum)?)
}

/// Of tokens `(n, 1)` and their log-probabilities.
fn picks(tokens: &Tensor, log_probs: &Tensor) -> Result<Vec<Pick>> {
    let tokens: Vec<i64> = numbers(tokens)?;
    let log_probs: Vec<f32> = numbers(log_probs)?;
    let picks = tokens.into_iter().zip(log_probs);
    Ok(picks.map(|(token, log_prob)| Pick { token: token as TokenId, log_prob }).collect())
}

pub(super) fn log_probs(scores: &Tensor, tokens: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let width = scores.size2()?.1 as usize;
    let asked = || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
    let rows = integers(asked().map(|(row, _)| row), scores.device())?;
    let places = integers(asked().map(|(row, token)| row * width + token as usize), scores.device())?;
    let Mass { shifted, log_sum, .. } = Mass::of(scores)?;
    let log_probs = shifted.f_view([-1])?.f_index_select(0, &places)?;
    let log_probs = log_probs.f_sub(&log_sum.f_view([-1])?.f_index_select(0, &rows)?)?;
    let mut numbers = numbers::<f32>(&log_probs)?.into_iter();
    Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
}
