//! Temperature, top-k, top-p and min-p.
use eft_core::Filter;
use tch::Tensor;

use super::cutoff::Cutoff;
use super::mass::Mass;
use super::tensor::{Result, poison};

pub(super) fn filter(scores: &Tensor, filter: &Filter) -> Result {
    let scores = scale(scores, filter.temperature)?;
    if !filter.truncates() {
        return Ok(scores);
    }
    let width = scores.size2()?.1 as usize;
    let mut kept = scores.shallow_clone();
    if let Some(k) = filter.top_k.filter(|k| *k < width) {
        kept = Cutoff::of_count(&kept, k)?.apply(&kept)?;
    }
    if let Some(p) = filter.top_p.filter(|p| *p < 1.0) {
        kept = Cutoff::of_mass(&kept, p)?.apply(&kept)?;
    }
    let Mass { shifted, log_sum, .. } = Mass::of(&scores)?;
    if let Some(p) = filter.min_p.filter(|p| *p > 0.0) {
        let unlikely = shifted.f_lt(f64::from(p).ln())?;
        kept = kept.f_masked_fill(&unlikely, f64::NEG_INFINITY)?;
    }
    // What is unsound may have been dropped.
    poison(&kept, &log_sum)
}

/// `scores / temperature`, less the row's largest score first where that would overflow.
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
