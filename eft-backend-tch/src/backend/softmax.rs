//! Softmax and its normaliser, from which most other operations start.
use tch::{Kind, Tensor};

use super::tensor::{Result, numbers};

/// The parts of a softmax, for `n` rows of `width` scores.
pub(super) struct Softmax {
    /// The largest score of each row, `(n, 1)`.
    pub(super) max: Tensor,
    /// `scores − max`, `(n, width)`.
    pub(super) shifted: Tensor,
    /// `exp(scores − max)`, `(n, width)`.
    pub(super) weights: Tensor,
    /// `log Σ weights`, `(n, 1)`; NaN exactly for unsound rows.
    pub(super) log_sum: Tensor,
}

impl Softmax {
    pub(super) fn of(scores: &Tensor) -> Result<Self> {
        // Unsound rows come out as NaN: a maximum with NaN is NaN, and so are ∞ − ∞ and (−∞) − (−∞).
        let max = scores.f_amax([1], true)?;
        let shifted = scores.f_sub(&max)?;
        let weights = shifted.f_exp()?;
        let log_sum = weights.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?.f_log()?;
        Ok(Self { max, shifted, weights, log_sum })
    }
}

/// `rows − log Σ exp rows`. An unsound row comes out as NaN throughout.
pub(super) fn log_softmax(scores: &Tensor) -> Result {
    scores.f_log_softmax(1, Kind::Float)
}

/// `log Σ exp rows`, one number for each row.
pub(super) fn log_normalizers(scores: &Tensor) -> Result<Vec<f32>> {
    let Softmax { max, log_sum, .. } = Softmax::of(scores)?;
    // A row of nothing but −∞ is unsound, but its normaliser is −∞ and not NaN.
    let all_excluded = max.f_eq(f64::NEG_INFINITY)?;
    numbers(&max.f_add(&log_sum)?.f_masked_fill(&all_excluded, f64::NEG_INFINITY)?)
}
