//! Elementwise pools of log-probs: power mean, maximum and minimum.
use candle_core::{Result, Tensor};
use eft_core::Pool;

use super::softmax::Softmax;
use super::tensor::{keep_unsound, scalar, where_cond};

/// Pools the rows of all terms; weights count for power means only.
pub(super) fn pool(terms: &[(f32, Tensor)], pool: Pool) -> Result<Tensor> {
    let rows = terms.iter().map(|(_, rows)| rows.clone());
    let pooled = match pool {
        Pool::Power(p) => power(terms, p)?,
        Pool::Max => reduce(rows, |a, b| a.maximum(b))?,
        Pool::Min => reduce(rows, |a, b| a.minimum(b))?,
    };
    // A pool can hide unsound rows: the maximum a row of nothing but −∞, the minimum +∞.
    let log_sums: Vec<_> =
        terms.iter().map(|(_, rows)| Ok(Softmax::of(rows)?.log_sum)).collect::<Result<_>>()?;
    keep_unsound(&pooled, &reduce(log_sums.into_iter(), |a, b| a + b)?)
}

/// `(1/p)·log Σₖ wₖ·exp(p·xₖ)`.
fn power(terms: &[(f32, Tensor)], p: f32) -> Result<Tensor> {
    let scaled: Vec<_> =
        terms.iter().map(|(_, rows)| rows.affine(f64::from(p), 0.0)).collect::<Result<_>>()?;
    let max = reduce(scaled.iter().cloned(), |a, b| a.maximum(b))?;
    let weighted = terms
        .iter()
        .zip(&scaled)
        .map(|((weight, _), scaled)| (scaled - &max)?.exp()?.affine(f64::from(*weight), 0.0));
    let sum = reduce(weighted.collect::<Result<Vec<_>>>()?.into_iter(), |a, b| a + b)?;
    // Where the maximum is infinite the sum is NaN, and the maximum is the result.
    let finite = max.abs()?.broadcast_le(&scalar(f32::MAX, &max)?)?;
    let log_sum = where_cond(&finite, &sum.log()?, &scalar(0f32, &max)?)?;
    (max + log_sum)?.broadcast_div(&scalar(p, &sum)?)
}

/// Folds the tensors from the left.
fn reduce(
    mut tensors: impl Iterator<Item = Tensor>,
    f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(first) = tensors.next() else { candle_core::bail!("a pool needs at least one term") };
    tensors.try_fold(first, |all, tensor| f(&all, &tensor))
}
