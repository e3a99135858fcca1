//! Normalisers, and what follows from them directly.
use candle_core::{Result, Tensor};

use super::tensor::{choose, count, numbers, scalar, sum};

/// Rows relative to their largest score, and their normalisers.
pub(super) struct Mass {
    /// The largest score, `(n, 1)`.
    pub(super) max: Tensor,
    /// `scores − max`.
    pub(super) shifted: Tensor,
    /// `exp(scores − max)`.
    pub(super) weights: Tensor,
    /// `Σ weights`, `(n, 1)`.
    pub(super) sum: Tensor,
    /// Its logarithm, NaN exactly for unsound rows, `(n, 1)`.
    pub(super) log_sum: Tensor,
}

impl Mass {
    pub(super) fn of(scores: &Tensor) -> Result<Self> {
        let max = scores.max_keepdim(1)?;
        let shifted = scores.broadcast_sub(&max)?;
        let weights = shifted.exp()?;
        let sum = sum(&weights)?;
        // The largest score itself adds 1. What is unsound adds NaN, whatever a maximum makes of NaN: NaN itself,
        // ∞ − ∞; and −∞ alone comes to NaN or, where a maximum starts from the least finite number, to zero.
        let sound = sum.broadcast_ge(&scalar(0.5f32, &sum)?)?;
        let log_sum = choose(&sound, &sum.log()?, &scalar(f32::NAN, &sum)?)?;
        Ok(Self { max, shifted, weights, sum, log_sum })
    }

    pub(super) fn log_softmax(&self) -> Result<Tensor> {
        self.shifted.broadcast_sub(&self.log_sum)
    }
}

pub(super) fn log_softmax(scores: &Tensor) -> Result<Tensor> {
    Mass::of(scores)?.log_softmax()
}

pub(super) fn log_normalizers(scores: &Tensor) -> Result<Vec<f32>> {
    let mass = Mass::of(scores)?;
    let excluded = count(&scores.broadcast_eq(&scalar(f32::NEG_INFINITY, scores)?)?)?;
    let all_excluded = excluded.broadcast_ge(&scalar(scores.dim(1)? as f32, scores)?)?;
    let normalizers = (mass.max + mass.log_sum)?;
    numbers(&choose(&all_excluded, &scalar(f32::NEG_INFINITY, scores)?, &normalizers)?)
}
