//! The last token of a set of first tokens in the total order.
use tch::{Kind, Tensor};

use super::tensor::{Result, first, wide};

/// So many first tokens are looked at, and then so many times as many.
const FEW: usize = 256;
const MORE: usize = 16;

/// A token of each row: its score, and how many tokens of the same score are first, itself included.
pub(super) struct Cutoff {
    /// `(n, 1)`.
    score: Tensor,
    /// `(n, 1)`, as integers.
    ties: Tensor,
}

impl Cutoff {
    /// The `k`-th token, for `k` from 1 to the width.
    pub(super) fn of_count(scores: &Tensor, k: usize) -> Result<Self> {
        let (values, _) = first(scores, k)?;
        let score = values.f_narrow(1, k as i64 - 1, 1)?;
        let above = values.f_gt_tensor(&score)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
        Ok(Self { ties: above.f_neg()?.f_add_scalar(k as i64)?, score })
    }

    /// The first token, in the total order, at which `exp(scores − max)` comes to `p` of its sum. Scores that are −∞
    /// have no weight, and are never reached.
    pub(super) fn of_mass(scores: &Tensor, p: f32) -> Result<Self> {
        let width = scores.size2()?.1 as usize;
        let wide = wide(scores);
        let max = scores.f_amax([1], true)?;
        let weight = |scores: &Tensor| scores.f_sub(&max)?.f_exp();
        let sum = weight(scores)?.f_sum_dim_intlist([1i64].as_slice(), true, wide)?;
        let needed = sum.f_mul_scalar(f64::from(p))?;
        let mut count = FEW.min(width);
        loop {
            let (values, _) = first(scores, count)?;
            let weights = weight(&values)?;
            let short = weights.f_cumsum(1, wide)?.f_lt_tensor(&needed)?;
            if count < width && short.f_narrow(1, count as i64 - 1, 1)?.f_any()?.f_int64_value(&[])? != 0 {
                count = (count * MORE).min(width);
                continue;
            }
            // Rounding can keep the sums of all from what is needed: then it is the last token of any weight.
            let some =
                weights.f_gt(0.0)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?.f_clamp_min(1)?;
            let short = short.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
            let last = short.f_minimum(&some.f_sub_scalar(1)?)?;
            let score = values.f_gather(1, &last, false)?;
            let above =
                values.f_gt_tensor(&score)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
            return Ok(Self { ties: last.f_add_scalar(1)?.f_sub(&above)?, score });
        }
    }

    /// `scores` up to this token, and −∞ for those after it; NaN stays.
    pub(super) fn apply(&self, scores: &Tensor) -> Result {
        let tied = scores.f_eq_tensor(&self.score)?;
        let late = tied.f_cumsum(1, Kind::Int64)?.f_gt_tensor(&self.ties)?.f_logical_and_(&tied)?;
        let dropped = scores.f_lt_tensor(&self.score)?.f_logical_or_(&late)?;
        scores.f_masked_fill(&dropped, f64::NEG_INFINITY)
    }
}
