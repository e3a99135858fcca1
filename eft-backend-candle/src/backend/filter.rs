//! Temperature, top-k, top-p and min-p.
use candle_core::{DType, Result, Tensor};
use eft_core::Filter;

use super::constants::Constants;
use super::cutoff::Cutoff;
use super::mass::Mass;
use super::tensor::{choose, count, scalar, sum};

pub(super) fn filter(constants: &Constants, scores: &Tensor, filter: &Filter) -> Result<Tensor> {
    let scores = scale(scores, filter.temperature)?;
    if !filter.truncates() {
        return Ok(scores);
    }
    let Mass { shifted, mut weights, log_sum, .. } = Mass::of(&scores)?;
    let sound = log_sum.eq(&log_sum)?;
    let excluded = choose(&sound, &scalar(f32::NEG_INFINITY, &scores)?, &scalar(f32::NAN, &scores)?)?;
    let zero = scalar(0f32, &scores)?;
    let mut kept = scores.clone();
    if let Some(k) = filter.top_k.filter(|k| *k < scores.dims()[1]) {
        let candidates = scores.broadcast_ge(&scalar(f32::MIN, &scores)?)?;
        let needed = count(&candidates)?.broadcast_minimum(&scalar(k as f32, &scores)?)?;
        let cutoff = Cutoff::find(constants, &scores, &candidates.to_dtype(DType::F32)?, &needed)?;
        kept = cutoff.apply(constants, &scores, &kept, &excluded)?;
        weights = cutoff.apply(constants, &scores, &weights, &zero)?;
    }
    if let Some(p) = filter.top_p.filter(|p| *p < 1.0) {
        let needed = sum(&weights)?.affine(f64::from(p), 0.0)?;
        let cutoff = Cutoff::find(constants, &scores, &weights, &needed)?;
        kept = cutoff.apply(constants, &scores, &kept, &excluded)?;
    }
    if let Some(p) = filter.min_p.filter(|p| *p > 0.0) {
        let likely = shifted.broadcast_ge(&scalar(p.ln(), &shifted)?)?;
        kept = choose(&likely, &kept, &excluded)?;
    }
    Ok(kept)
}

/// `scores / temperature`, less the row's largest score first where that would overflow.
fn scale(scores: &Tensor, temperature: f32) -> Result<Tensor> {
    if temperature == 1.0 {
        return scores.copy();
    }
    let temperature_ = scalar(temperature, scores)?;
    if temperature > 1.0 {
        return scores.broadcast_div(&temperature_);
    }
    let max = scores.max_keepdim(1)?;
    let fits = max.broadcast_div(&temperature_)?.abs()?.broadcast_le(&scalar(f32::MAX, &max)?)?;
    let shift = choose(&fits, &scalar(0f32, &max)?, &max)?;
    scores.broadcast_sub(&shift)?.broadcast_div(&temperature_)
}
