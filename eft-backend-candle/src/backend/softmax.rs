//! Softmax and its normaliser, from which most other operations start.
use candle_core::{Result, Tensor};

use super::tensor::{count, numbers, scalar, sum, where_cond};

/// The parts of a softmax, for `n` rows of `width` scores.
pub(super) struct Softmax {
    /// The largest score of each row, `(n, 1)`.
    pub(super) max: Tensor,
    /// `scores − max`, `(n, width)`.
    pub(super) shifted: Tensor,
    /// `exp(scores − max)`, `(n, width)`.
    pub(super) weights: Tensor,
    /// `Σ weights`, `(n, 1)`.
    pub(super) sum: Tensor,
    /// `log Σ weights`, `(n, 1)`; NaN exactly for unsound rows.
    pub(super) log_sum: Tensor,
}

impl Softmax {
    pub(super) fn of(scores: &Tensor) -> Result<Self> {
        let max = scores.max_keepdim(1)?;
        let shifted = scores.broadcast_sub(&max)?;
        let weights = shifted.exp()?;
        let sum = sum(&weights)?;
        // The largest score of a sound row contributes 1. NaN or +∞ in a row makes the sum NaN, whatever the maximum
        // does with a NaN. A row of nothing but −∞ gives NaN, or 0 on devices whose maximum starts from the least
        // finite number.
        let sound = sum.broadcast_ge(&scalar(0.5f32, &sum)?)?;
        let log_sum = where_cond(&sound, &sum.log()?, &scalar(f32::NAN, &sum)?)?;
        Ok(Self { max, shifted, weights, sum, log_sum })
    }

    pub(super) fn log_softmax(&self) -> Result<Tensor> {
        self.shifted.broadcast_sub(&self.log_sum)
    }
}

/// `rows − log Σ exp rows`. An unsound row comes out as NaN throughout.
pub(super) fn log_softmax(scores: &Tensor) -> Result<Tensor> {
    Softmax::of(scores)?.log_softmax()
}

/// `log Σ exp rows`, one number for each row.
pub(super) fn log_normalizers(scores: &Tensor) -> Result<Vec<f32>> {
    let softmax = Softmax::of(scores)?;
    let excluded = count(&scores.broadcast_eq(&scalar(f32::NEG_INFINITY, scores)?)?)?;
    let all_excluded = excluded.broadcast_ge(&scalar(scores.dim(1)? as f32, scores)?)?;
    let normalizers = (softmax.max + softmax.log_sum)?;
    // A row of nothing but −∞ is unsound, but its normaliser is −∞ and not NaN.
    numbers(&where_cond(&all_excluded, &scalar(f32::NEG_INFINITY, scores)?, &normalizers)?)
}
