//! The first tokens of each row.
use candle_core::{DType, Result, Tensor};
use eft_core::{Pick, TokenId};

use super::constants::Constants;
use super::cutoff::Cutoff;
use super::mass::Mass;
use super::pick::first_at;
use super::select::select;
use super::tensor::{choose, count, numbers, scalar};

/// Up to so many are found one by one; more, by the last of them.
const FEW: usize = 16;

/// Columns are found this many at a time, which bounds the memory it takes.
const AT_ONCE: usize = 1024;

pub(super) fn top(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<Pick>>> {
    let (n, width) = scores.dims2()?;
    let k = k.min(width);
    let mass = Mass::of(scores)?;
    let log_sums: Vec<f32> = numbers(&mass.log_sum)?;
    let maxima: Vec<f32> = numbers(&mass.max)?;
    let found = match k {
        0 => vec![Vec::new(); n],
        1..=FEW => one_by_one(constants, scores, k)?,
        _ => in_id_order(constants, scores, k)?,
    };
    let rows = found.into_iter().zip(maxima).zip(log_sums);
    Ok(rows.map(|((found, max), log_sum)| ordered(found, max, log_sum, width)).collect())
}

/// In the total order, with log-probabilities, and without what has no probability.
fn ordered(mut found: Vec<(TokenId, f32)>, max: f32, log_sum: f32, width: usize) -> Vec<Pick> {
    if log_sum.is_nan() {
        return vec![Pick { token: 0, log_prob: f32::NAN }];
    }
    found.retain(|(token, score)| (*token as usize) < width && *score > f32::NEG_INFINITY);
    // The two zeros are equal.
    found.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0)));
    found.dedup_by_key(|(token, _)| *token);
    let log_prob = |score| (f64::from(score) - f64::from(max) - f64::from(log_sum)) as f32;
    let picks = found.into_iter().map(|(token, score)| Pick { token, log_prob: log_prob(score) });
    picks.filter(|pick| pick.log_prob > f32::NEG_INFINITY).collect()
}

/// The first token, `k` times, each time without those before.
fn one_by_one(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let ids = constants.ids(scores.dim(1)?)?;
    let (mut tokens, mut values) = (Vec::new(), Vec::new());
    let mut rest = scores.clone();
    for _ in 0..k {
        let value = rest.max_keepdim(1)?;
        let token = first_at(constants, &rest, &value)?;
        rest = choose(&ids.broadcast_eq(&token)?, &scalar(f32::NEG_INFINITY, scores)?, &rest)?;
        tokens.push(token);
        values.push(value);
    }
    pairs(&Tensor::cat(&tokens, 1)?, &Tensor::cat(&values, 1)?)
}

/// The last of the first `k` tells which those are; then the first of them by id, the second, and so on. Where
/// there are fewer, the last comes again.
fn in_id_order(constants: &Constants, scores: &Tensor, k: usize) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let n = scores.dim(0)?;
    let candidates = scores.broadcast_ge(&scalar(f32::MIN, scores)?)?;
    let needed = count(&candidates)?.broadcast_minimum(&scalar(k as f32, scores)?)?;
    let candidates = candidates.to_dtype(DType::F32)?;
    let cutoff = Cutoff::find(constants, scores, &candidates, &needed)?;
    let kept = cutoff.apply(constants, scores, &candidates, &scalar(0f32, scores)?)?;
    let mut found = vec![Vec::new(); n];
    for start in (0..k).step_by(AT_ONCE) {
        let count = AT_ONCE.min(k - start);
        let ranks = constants.ids(count)?.to_dtype(DType::F32)?.affine(1.0, start as f64 + 0.5)?;
        let tokens = select(constants, &kept, &ranks.broadcast_as((n, count))?.contiguous()?)?;
        let part = pairs(&tokens, &scores.gather(&tokens, 1)?)?;
        found.iter_mut().zip(part).for_each(|(found, part)| found.extend(part));
    }
    Ok(found)
}

/// Tokens and their scores, row by row, on the host.
fn pairs(tokens: &Tensor, scores: &Tensor) -> Result<Vec<Vec<(TokenId, f32)>>> {
    let rows = tokens.to_vec2()?.into_iter().zip(scores.to_vec2()?);
    Ok(rows.map(|(tokens, scores)| tokens.into_iter().zip(scores).collect()).collect())
}
