//! Normalisers, and what follows from them directly.
use tch::{Kind, Tensor};

use super::tensor::{Result, numbers};

/// Rows relative to their largest score, and their normalisers.
pub(super) struct Mass {
    /// The largest score, `(n, 1)`.
    pub(super) max: Tensor,
    /// `scores − max`.
    pub(super) shifted: Tensor,
    /// `exp(scores − max)`.
    pub(super) weights: Tensor,
    /// `log Σ weights`, NaN exactly for unsound rows, `(n, 1)`.
    pub(super) log_sum: Tensor,
}

impl Mass {
    pub(super) fn of(scores: &Tensor) -> Result<Self> {
        // A maximum with NaN is NaN, and so are ∞ − ∞ and what is left of nothing but −∞.
        let max = scores.f_amax([1], true)?;
        let shifted = scores.f_sub(&max)?;
        let weights = shifted.f_exp()?;
        let log_sum = weights.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?.f_log()?;
        Ok(Self { max, shifted, weights, log_sum })
    }
}

/// libtorch's own gives NaN throughout for every unsound row.
pub(super) fn log_softmax(scores: &Tensor) -> Result {
    scores.f_log_softmax(1, Kind::Float)
}

pub(super) fn log_normalizers(scores: &Tensor) -> Result<Vec<f32>> {
    let Mass { max, log_sum, .. } = Mass::of(scores)?;
    // Of nothing but −∞ there is no mass, which is no NaN.
    let none = max.f_eq(f64::NEG_INFINITY)?;
    numbers(&max.f_add(&log_sum)?.f_masked_fill(&none, f64::NEG_INFINITY)?)
}
