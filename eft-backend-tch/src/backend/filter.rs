//! Temperature, top-k, top-p and min-p.
use eft_core::Filter;
use tch::Tensor;

use super::cutoff::Cutoff;
use super::softmax::Softmax;
use super::tensor::{Result, keep_unsound};

/// Divides by the temperature, and excludes the tokens that top-k, top-p and min-p drop.
pub(super) fn filter(scores: &Tensor, filter: &Filter) -> Result {
    let scores = scale(scores, filter.temperature)?;
    if !filter.truncates() {
        return Ok(scores);
    }
    let width = scores.size2()?.1 as usize;
    let mut kept = scores.shallow_clone();
    if let Some(k) = filter.top_k.filter(|k| *k < width) {
        kept = Cutoff::top_k(&kept, k)?.apply(&kept)?;
    }
    if let Some(p) = filter.top_p.filter(|p| *p < 1.0) {
        kept = Cutoff::top_p(&kept, p)?.apply(&kept)?;
    }
    let Softmax { shifted, log_sum, .. } = Softmax::of(&scores)?;
    if let Some(p) = filter.min_p.filter(|p| *p > 0.0) {
        let unlikely = shifted.f_lt(f64::from(p).ln())?;
        kept = kept.f_masked_fill(&unlikely, f64::NEG_INFINITY)?;
    }
    // The entries that make a row unsound may have been dropped.
    keep_unsound(&kept, &log_sum)
}

/// `scores / temperature`. Where that would overflow, the row's maximum is subtracted first.
fn scale(scores: &Tensor, temperature: f32) -> Result {
    let temperature = f64::from(temperature);
    if temperature >= 1.0 {
        return scores.f_div_scalar(temperature);
    }
    let max = scores.f_amax([1], true)?;
    let fits = max.f_div_scalar(temperature)?.f_isfinite()?;
    let shift = max.f_masked_fill(&fits, 0.0)?;
    scores.f_sub(&shift)?.f_div_scalar(temperature)
}
