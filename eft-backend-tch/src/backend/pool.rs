//! Elementwise pools of log-probabilities: power means, maximum, minimum.
use eft_core::Pool;
use tch::{TchError, Tensor};

use super::mass::Mass;
use super::tensor::{Result, poison};

pub(super) fn pool(parts: &[(f32, Tensor)], pool: Pool) -> Result {
    let rows = || parts.iter().map(|(_, rows)| Ok(rows.shallow_clone()));
    let pooled = match pool {
        Pool::Power(p) => power(parts, f64::from(p))?,
        Pool::Max => reduce(rows(), Tensor::f_maximum)?,
        Pool::Min => reduce(rows(), Tensor::f_minimum)?,
    };
    // A pool can hide what makes a part unsound: the maximum hides an excluded row, the minimum hides +∞.
    let witnesses = parts.iter().map(|(_, rows)| Ok(Mass::of(rows)?.log_sum));
    poison(&pooled, &reduce(witnesses, Tensor::f_add)?)
}

fn power(parts: &[(f32, Tensor)], p: f64) -> Result {
    let scaled = parts.iter().map(|(_, rows)| rows.f_mul_scalar(p)).collect::<Result<Vec<_>>>()?;
    let max = reduce(scaled.iter().map(|rows| Ok(rows.shallow_clone())), Tensor::f_maximum)?;
    let weighted = parts
        .iter()
        .zip(&scaled)
        .map(|((weight, _), scaled)| scaled.f_sub(&max)?.f_exp()?.f_mul_scalar(f64::from(*weight)));
    let log_sum = reduce(weighted, Tensor::f_add)?.f_log()?;
    // At ±∞ the sum is NaN, and the largest is the answer.
    let log_sum = log_sum.f_masked_fill(&max.f_isinf()?, 0.0)?;
    max.f_add(&log_sum)?.f_div_scalar(p)
}

/// All of them, two by two from the left.
fn reduce(mut parts: impl Iterator<Item = Result>, f: impl Fn(&Tensor, &Tensor) -> Result) -> Result {
    let first = parts.next().unwrap_or_else(|| Err(TchError::Shape("there is nothing to pool".into())))?;
    parts.try_fold(first, |all, part| f(&all, &part?))
}
