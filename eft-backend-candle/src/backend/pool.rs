//! Elementwise pools of log-probabilities: power means, maximum, minimum.
use candle_core::{Result, Tensor};
use eft_core::Pool;

use super::mass::Mass;
use super::tensor::{choose, poison, scalar};

pub(super) fn pool(parts: &[(f32, Tensor)], pool: Pool) -> Result<Tensor> {
    let rows = parts.iter().map(|(_, rows)| rows.clone());
    let pooled = match pool {
        Pool::Power(p) => power(parts, p)?,
        Pool::Max => reduce(rows, |a, b| a.maximum(b))?,
        Pool::Min => reduce(rows, |a, b| a.minimum(b))?,
    };
    // A pool can hide what makes a part unsound: the maximum hides an excluded row, the minimum hides +∞.
    let witnesses: Vec<_> =
        parts.iter().map(|(_, rows)| Ok(Mass::of(rows)?.log_sum)).collect::<Result<_>>()?;
    poison(&pooled, &reduce(witnesses.into_iter(), |a, b| a + b)?)
}

fn power(parts: &[(f32, Tensor)], p: f32) -> Result<Tensor> {
    let scaled: Vec<_> =
        parts.iter().map(|(_, rows)| rows.affine(f64::from(p), 0.0)).collect::<Result<_>>()?;
    let max = reduce(scaled.iter().cloned(), |a, b| a.maximum(b))?;
    let weighted = parts
        .iter()
        .zip(&scaled)
        .map(|((weight, _), scaled)| (scaled - &max)?.exp()?.affine(f64::from(*weight), 0.0));
    let sum = reduce(weighted.collect::<Result<Vec<_>>>()?.into_iter(), |a, b| a + b)?;
    // At ±∞ the sum is NaN, and the largest is the answer.
    let finite = max.abs()?.broadcast_le(&scalar(f32::MAX, &max)?)?;
    let log_sum = choose(&finite, &sum.log()?, &scalar(0f32, &max)?)?;
    (max + log_sum)?.broadcast_div(&scalar(p, &sum)?)
}

/// All of them, two by two from the left.
fn reduce(
    mut parts: impl Iterator<Item = Tensor>,
    f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(mut all) = parts.next() else { candle_core::bail!("nothing to pool") };
    for part in parts {
        all = f(&all, &part)?;
    }
    Ok(all)
}
