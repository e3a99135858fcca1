//! Tokens chosen, and log-probabilities asked for: what crosses to the host.
use candle_core::{Result, Tensor};
use eft_core::{Pick, TokenId};

use super::constants::Constants;
use super::mass::Mass;
use super::select::select;
use super::tensor::{choose, numbers, scalar};

pub(super) fn argmax(constants: &Constants, scores: &Tensor) -> Result<Vec<Pick>> {
    let mass = Mass::of(scores)?;
    picks(&first_at(constants, scores, &mass.max)?, &mass.log_sum.neg()?)
}

/// The lowest id with the score `(n, 1)`. Candle's own `argmax` leaves open which of several.
pub(super) fn first_at(constants: &Constants, scores: &Tensor, score: &Tensor) -> Result<Tensor> {
    let ids = constants.ids(scores.dim(1)?)?;
    choose(&scores.broadcast_eq(score)?, &ids, &scalar(u32::MAX, scores)?)?.min_keepdim(1)
}

pub(super) fn draw(constants: &Constants, scores: &Tensor, uniforms: &[f64]) -> Result<Vec<Pick>> {
    let mass = Mass::of(scores)?;
    let uniforms: Vec<_> = uniforms.iter().map(|uniform| *uniform as f32).collect();
    let uniforms = Tensor::from_vec(uniforms, (scores.dim(0)?, 1), scores.device())?;
    let tokens = select(constants, &mass.weights, &(uniforms * &mass.sum)?)?;
    picks(&tokens, &(mass.shifted.gather(&tokens, 1)? - mass.log_sum)?)
}

/// Of tokens `(n, 1)` and their log-probabilities.
fn picks(tokens: &Tensor, log_probs: &Tensor) -> Result<Vec<Pick>> {
    let tokens: Vec<TokenId> = numbers(tokens)?;
    let log_probs: Vec<f32> = numbers(log_probs)?;
    let picks = tokens.into_iter().zip(log_probs);
    // What is found in an unsound row need not be a token.
    Ok(picks.map(|(t, log_prob)| Pick { token: if log_prob.is_nan() { 0 } else { t }, log_prob }).collect())
}

pub(super) fn log_probs(scores: &Tensor, tokens: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let width = scores.dim(1)?;
    let device = scores.device();
    let asked = || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
    let rows = Tensor::from_iter(asked().map(|(row, _)| row as i64), device)?;
    let places = Tensor::from_iter(asked().map(|(row, t)| (row * width + t as usize) as i64), device)?;
    let mass = Mass::of(scores)?;
    let shifted = mass.shifted.flatten_all()?.index_select(&places, 0)?;
    let log_sums = mass.log_sum.flatten_all()?.index_select(&rows, 0)?;
    let mut numbers = (shifted - log_sums)?.to_vec1()?.into_iter();
    Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
}
