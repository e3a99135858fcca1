//! [`Cutoff`]: the last token of a top-k or top-p set, found without sorting.
use candle_core::{DType, Result, Tensor};

use super::constants::Constants;
use super::select::select;
use super::tensor::{blocks, count, scalar, sum, sum_where, where_cond};

/// The last token that is kept, in the total order, of each row.
pub(super) struct Cutoff {
    /// The token's score, `(n, 1)`.
    score: Tensor,
    /// The token's id, `(n, 1)` as `u32`.
    id: Tensor,
}

impl Cutoff {
    /// The `k`-th token, or the last one with a score above −∞ if there are fewer.
    pub(super) fn top_k(constants: &Constants, scores: &Tensor, k: usize) -> Result<Self> {
        let finite = finite(scores)?;
        let needed = count(&finite)?.broadcast_minimum(&scalar(k as f32, scores)?)?;
        Self::find(constants, scores, &finite.to_dtype(DType::F32)?, &needed)
    }

    /// The first token at which the cumulative sum of the weights reaches `p` of their whole sum.
    ///
    /// `weights` are `exp(scores − max)`, or 0 for tokens that were dropped before.
    pub(super) fn top_p(constants: &Constants, scores: &Tensor, weights: &Tensor, p: f32) -> Result<Self> {
        let needed = sum(weights)?.affine(f64::from(p), 0.0)?;
        Self::find(constants, scores, weights, &needed)
    }

    /// The first token at which the cumulative sum of the weights reaches `needed`, `(n, 1)` and above zero.
    ///
    /// Tokens of equal score must have equal weights, or weight 0.
    fn find(constants: &Constants, scores: &Tensor, weights: &Tensor, needed: &Tensor) -> Result<Self> {
        let score = cutoff_score(constants, scores, weights, needed)?;
        let above = sum_where(&scores.broadcast_gt(&score)?, weights)?;
        let tied = where_cond(&scores.broadcast_eq(&score)?, weights, &scalar(0f32, weights)?)?;
        // How many of the tied tokens are needed. Their weight is above zero, since with them the sum reaches `needed`.
        let ties = ((needed - above)? / tied.max_keepdim(1)?)?.ceil()?;
        let ties = ties.broadcast_maximum(&scalar(1f32, &ties)?)?;
        let ones = tied.broadcast_gt(&scalar(0f32, &tied)?)?.to_dtype(DType::F32)?;
        let id = select(constants, &ones, &ties.affine(1.0, -0.5)?)?;
        Ok(Self { score, id })
    }

    /// `rows` with `excluded`, which broadcasts, for all tokens after this one in the order of `scores`.
    pub(super) fn apply(
        &self,
        constants: &Constants,
        scores: &Tensor,
        rows: &Tensor,
        excluded: &Tensor,
    ) -> Result<Tensor> {
        let ids = constants.ids(scores.dim(1)?)?;
        let first_ties = ids.broadcast_le(&self.id)?;
        let tied = where_cond(&first_ties, rows, excluded)?;
        let kept = where_cond(&scores.broadcast_ge(&self.score)?, &tied, excluded)?;
        where_cond(&scores.broadcast_gt(&self.score)?, rows, &kept)
    }
}

/// A mask of the scores above −∞.
pub(super) fn finite(scores: &Tensor) -> Result<Tensor> {
    scores.broadcast_ge(&scalar(f32::MIN, scores)?)
}

/// The largest score such that the weights of this and all higher scores sum to `needed` at least.
///
/// A bisection over landmarks finds the two neighbours that it lies between. All numbers between two neighbours are
/// equally far apart, so a bisection of that interval ends at exactly one number.
fn cutoff_score(constants: &Constants, scores: &Tensor, weights: &Tensor, needed: &Tensor) -> Result<Tensor> {
    let (n, _) = scores.dims2()?;
    // Split into blocks here, not in every round.
    let (scores, weights) = (blocks(scores)?, blocks(weights)?);
    let zero = scalar(0f32, &weights)?;
    let reached = |score: &Tensor| {
        let mask = scores.broadcast_ge(&score.reshape((n, 1, 1))?)?;
        where_cond(&mask, &weights, &zero)?.sum(2)?.sum_keepdim(1)?.broadcast_ge(needed)
    };
    let landmarks = constants.landmarks()?;
    let landmark = |index: &Tensor| landmarks.index_select(&index.flatten_all()?, 0)?.reshape((n, 1));
    let mut index = Tensor::zeros((n, 1), DType::U32, scores.device())?;
    for bit in (0..9).rev() {
        let tried = index.affine(1.0, f64::from(1 << bit))?;
        index = where_cond(&reached(&landmark(&tried)?)?, &tried, &index)?;
    }
    let mut low = landmark(&index)?;
    let mut high = landmark(&index.affine(1.0, 1.0)?)?;
    // One round for each of the 23 bits of the fraction, and one more since the outermost interval is a little shorter
    // than a power of two.
    for _ in 0..24 {
        let middle = ((&high - &low)?.affine(0.5, 0.0)? + &low)?;
        let reached = reached(&middle)?;
        low = where_cond(&reached, &middle, &low)?;
        high = where_cond(&reached, &high, &middle)?;
    }
    Ok(low)
}
