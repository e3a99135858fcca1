//! Temperature, top-k, top-p and min-p.
use candle_core::{Result, Tensor};
use eft_core::Filter;

use super::constants::Constants;
use super::cutoff::Cutoff;
use super::softmax::Softmax;
use super::tensor::{scalar, where_cond};

/// Divides by the temperature, and excludes the tokens that top-k, top-p and min-p drop.
pub(super) fn filter(constants: &Constants, scores: &Tensor, filter: &Filter) -> Result<Tensor> {
    let scores = scale(scores, filter.temperature)?;
    if !filter.truncates() {
        return Ok(scores);
    }
    let Softmax { shifted, mut weights, log_sum, .. } = Softmax::of(&scores)?;
    // The score of a dropped token: −∞, or NaN in an unsound row, whose unsound entries may be dropped too.
    let sound = log_sum.eq(&log_sum)?;
    let excluded = where_cond(&sound, &scalar(f32::NEG_INFINITY, &scores)?, &scalar(f32::NAN, &scores)?)?;
    let mut kept = scores.clone();
    if let Some(k) = filter.top_k.filter(|k| *k < scores.dims()[1]) {
        let cutoff = Cutoff::top_k(constants, &scores, k)?;
        kept = cutoff.apply(constants, &scores, &kept, &excluded)?;
        weights = cutoff.apply(constants, &scores, &weights, &scalar(0f32, &scores)?)?;
    }
    if let Some(p) = filter.top_p.filter(|p| *p < 1.0) {
        let cutoff = Cutoff::top_p(constants, &scores, &weights, p)?;
        kept = cutoff.apply(constants, &scores, &kept, &excluded)?;
    }
    if let Some(p) = filter.min_p.filter(|p| *p > 0.0) {
        let likely = shifted.broadcast_ge(&scalar(p.ln(), &shifted)?)?;
        kept = where_cond(&likely, &kept, &excluded)?;
    }
    Ok(kept)
}

/// `scores / temperature`. Where that would overflow, the row's maximum is subtracted first.
fn scale(scores: &Tensor, temperature: f32) -> Result<Tensor> {
    if temperature == 1.0 {
        return scores.copy();
    }
    let divisor = scalar(temperature, scores)?;
    if temperature > 1.0 {
        return scores.broadcast_div(&divisor);
    }
    let max = scores.max_keepdim(1)?;
    let fits = max.broadcast_div(&divisor)?.abs()?.broadcast_le(&scalar(f32::MAX, &max)?)?;
    let shift = where_cond(&fits, &scalar(0f32, &max)?, &max)?;
    scores.broadcast_sub(&shift)?.broadcast_div(&divisor)
}
