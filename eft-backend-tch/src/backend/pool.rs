//! Elementwise pools of log-probs: power mean, maximum and minimum.
use eft_core::Pool;
use tch::{TchError, Tensor};

use super::softmax::Softmax;
use super::tensor::{Result, keep_unsound};

/// Pools the rows of all terms; weights count for power means only.
pub(super) fn pool(terms: &[(f32, Tensor)], pool: Pool) -> Result {
    let rows = || terms.iter().map(|(_, rows)| Ok(rows.shallow_clone()));
    let pooled = match pool {
        Pool::Power(p) => power(terms, f64::from(p))?,
        Pool::Max => reduce(rows(), Tensor::f_maximum)?,
        Pool::Min => reduce(rows(), Tensor::f_minimum)?,
    };
    // A pool can hide unsound rows: the maximum a row of nothing but −∞, the minimum +∞.
    let log_sums = terms.iter().map(|(_, rows)| Ok(Softmax::of(rows)?.log_sum));
    keep_unsound(&pooled, &reduce(log_sums, Tensor::f_add)?)
}

/// `(1/p)·log Σₖ wₖ·exp(p·xₖ)`.
fn power(terms: &[(f32, Tensor)], p: f64) -> Result {
    let scaled = terms.iter().map(|(_, rows)| rows.f_mul_scalar(p)).collect::<Result<Vec<_>>>()?;
    let max = reduce(scaled.iter().map(|rows| Ok(rows.shallow_clone())), Tensor::f_maximum)?;
    let weighted = terms
        .iter()
        .zip(&scaled)
        .map(|((weight, _), scaled)| scaled.f_sub(&max)?.f_exp()?.f_mul_scalar(f64::from(*weight)));
    let log_sum = reduce(weighted, Tensor::f_add)?.f_log()?;
    // Where the maximum is infinite the sum is NaN, and the maximum is the result.
    let log_sum = log_sum.f_masked_fill(&max.f_isinf()?, 0.0)?;
    max.f_add(&log_sum)?.f_div_scalar(p)
}

/// Folds the tensors from the left.
fn reduce(mut tensors: impl Iterator<Item = Result>, f: impl Fn(&Tensor, &Tensor) -> Result) -> Result {
    let none = || Err(TchError::Shape("a pool needs at least one term".into()));
    let first = tensors.next().unwrap_or_else(none)?;
    tensors.try_fold(first, |all, tensor| f(&all, &tensor?))
}
