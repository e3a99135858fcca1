//! The first tokens of each score row in the total order.
use candle_core::{DType, Result, Tensor};
use eft_core::{Pick, TokenId};

use super::constants::Constants;
use super::cutoff::{Cutoff, finite};
use super::pick::first_with_score;
use super::select::select;
use super::softmax::Softmax;
use super::tensor::{numbers, scalar, where_cond};

/// Up to this many tokens are found one by one; more are found by the cut-off of the last of them.
const ONE_BY_ONE: usize = 16;

/// How many tokens of a row are looked up at a time, which bounds the memory.
const LOOKED_UP: usize = 1024;

/// The first `k` tokens of each row that have a probability above zero; one NaN for an unsound row.
pub(super) fn top(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<Pick>>> {
    let (n, width) = scores.dims2()?;
    let k = k.min(width);
    let softmax = Softmax::of(scores)?;
    let log_sums: Vec<f32> = numbers(&softmax.log_sum)?;
    let maxima: Vec<f32> = numbers(&softmax.max)?;
    let found = match k {
        0 => vec![Vec::new(); n],
        1..=ONE_BY_ONE => one_by_one(constants, scores, k)?,
        _ => by_cutoff(constants, scores, k)?,
    };
    let rows = found.into_iter().zip(maxima).zip(log_sums);
    Ok(rows.map(|((found, max), log_sum)| picks(found, max, log_sum, width)).collect())
}

/// The found tokens of a row in the total order, without duplicates and tokens of no probability.
fn picks(mut found: Vec<(TokenId, f32)>, max: f32, log_sum: f32, width: usize) -> Vec<Pick> {
    if log_sum.is_nan() {
        return vec![Pick { token: 0, log_prob: f32::NAN }];
    }
    found.retain(|(token, score)| (*token as usize) < width && *score > f32::NEG_INFINITY);
    // Adding 0 makes −0 equal to +0, as it is in the total order of tokens.
    found.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0)));
    found.dedup_by_key(|(token, _)| *token);
    let log_prob = |score| (f64::from(score) - f64::from(max) - f64::from(log_sum)) as f32;
    let picks = found.into_iter().map(|(token, score)| Pick { token, log_prob: log_prob(score) });
    picks.filter(|pick| pick.log_prob > f32::NEG_INFINITY).collect()
}

/// Finds the first token `k` times, and excludes it each time.
fn one_by_one(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let ids = constants.ids(scores.dim(1)?)?;
    let (mut tokens, mut values) = (Vec::new(), Vec::new());
    let mut rest = scores.clone();
    for _ in 0..k {
        let value = rest.max_keepdim(1)?;
        let token = first_with_score(constants, &rest, &value)?;
        rest = where_cond(&ids.broadcast_eq(&token)?, &scalar(f32::NEG_INFINITY, scores)?, &rest)?;
        tokens.push(token);
        values.push(value);
    }
    pairs(&Tensor::cat(&tokens, 1)?, &Tensor::cat(&values, 1)?)
}

/// Finds the last of the first `k` tokens, and then looks up all of them in the order of ids. Rows that have fewer
/// tokens contain their last one several times.
fn by_cutoff(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let n = scores.dim(0)?;
    let cutoff = Cutoff::top_k(constants, scores, k)?;
    let ones = finite(scores)?.to_dtype(DType::F32)?;
    let kept = cutoff.apply(constants, scores, &ones, &scalar(0f32, scores)?)?;
    let mut found = vec![Vec::new(); n];
    for start in (0..k).step_by(LOOKED_UP) {
        let count = LOOKED_UP.min(k - start);
        let ranks = constants.ids(count)?.to_dtype(DType::F32)?.affine(1.0, start as f64 + 0.5)?;
        let tokens = select(constants, &kept, &ranks.broadcast_as((n, count))?.contiguous()?)?;
        let part = pairs(&tokens, &scores.gather(&tokens, 1)?)?;
        found.iter_mut().zip(part).for_each(|(found, part)| found.extend(part));
    }
    Ok(found)
}

/// Tokens and their scores, `(n, m)` each, row by row on the host.
fn pairs(tokens: &Tensor, scores: &Tensor) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let rows = tokens.to_vec2()?.into_iter().zip(scores.to_vec2()?);
    Ok(rows.map(|(tokens, scores)| tokens.into_iter().zip(scores).collect()).collect())
}
