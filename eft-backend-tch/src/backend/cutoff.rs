//! [`Cutoff`]: the last token of a top-k or top-p set.
use tch::{Kind, Tensor};

use super::tensor::{Result, topk, wide};

/// How many tokens are looked at first for the end of a top-p set.
const CANDIDATES: usize = 256;

/// The factor by which candidates grow until their mass suffices.
const GROWTH: usize = 16;

/// The last token that is kept, in the total order, of each row.
pub(super) struct Cutoff {
    /// The token's score, `(n, 1)`.
    score: Tensor,
    /// How many tokens of this score are kept, the token included, `(n, 1)` as integers.
    ties: Tensor,
}

impl Cutoff {
    /// The `k`-th token, for `k` from 1 to the width.
    pub(super) fn top_k(scores: &Tensor, k: usize) -> Result<Self> {
        let (values, _) = topk(scores, k)?;
        let score = values.f_narrow(1, k as i64 - 1, 1)?;
        let above = values.f_gt_tensor(&score)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
        Ok(Self { ties: above.f_neg()?.f_add_scalar(k as i64)?, score })
    }

    /// The first token at which the cumulative sum of `exp(scores − max)` reaches `p` of the whole sum.
    pub(super) fn top_p(scores: &Tensor, p: f32) -> Result<Self> {
        let width = scores.size2()?.1 as usize;
        let wide = wide(scores);
        let max = scores.f_amax([1], true)?;
        let weight = |scores: &Tensor| scores.f_sub(&max)?.f_exp();
        let sum = weight(scores)?.f_sum_dim_intlist([1i64].as_slice(), true, wide)?;
        let needed = sum.f_mul_scalar(f64::from(p))?;
        let mut count = CANDIDATES.min(width);
        loop {
            let (values, _) = topk(scores, count)?;
            let weights = weight(&values)?;
            let short = weights.f_cumsum(1, wide)?.f_lt_tensor(&needed)?;
            if count < width && short.f_narrow(1, count as i64 - 1, 1)?.f_any()?.f_int64_value(&[])? != 0 {
                count = (count * GROWTH).min(width);
                continue;
            }
            // If rounding keeps the sum of all weights below what is needed, it is the last token of positive weight.
            let positive =
                weights.f_gt(0.0)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?.f_clamp_min(1)?;
            let short = short.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
            let last = short.f_minimum(&positive.f_sub_scalar(1)?)?;
            let score = values.f_gather(1, &last, false)?;
            let above =
                values.f_gt_tensor(&score)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Int64)?;
            return Ok(Self { ties: last.f_add_scalar(1)?.f_sub(&above)?, score });
        }
    }

    /// `scores` with −∞ for all tokens after this one; NaN stays NaN.
    pub(super) fn apply(&self, scores: &Tensor) -> Result {
        let tied = scores.f_eq_tensor(&self.score)?;
        let late = tied.f_cumsum(1, Kind::Int64)?.f_gt_tensor(&self.ties)?.f_logical_and_(&tied)?;
        let dropped = scores.f_lt_tensor(&self.score)?.f_logical_or_(&late)?;
        scores.f_masked_fill(&dropped, f64::NEG_INFINITY)
    }
}
