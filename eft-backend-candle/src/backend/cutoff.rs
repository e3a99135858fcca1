//! The last token of a set of first tokens in the total order, found without sorting.
use candle_core::{DType, Result, Tensor};

use super::constants::Constants;
use super::select::select;
use super::tensor::{blocks, choose, scalar, sum_where};

/// A token of each row.
pub(super) struct Cutoff {
    /// Its score, `(n, 1)`.
    score: Tensor,
    /// Its id, `(n, 1)` as `u32`.
    id: Tensor,
}

impl Cutoff {
    /// The first token, in the total order, at which the weights come to `needed`, `(n, 1)` and above zero. Tokens
    /// of equal score have equal weights, or zero to be left out.
    pub(super) fn find(
        constants: &Constants,
        scores: &Tensor,
        weights: &Tensor,
        needed: &Tensor,
    ) -> Result<Self> {
        let score = score(constants, scores, weights, needed)?;
        let above = sum_where(&scores.broadcast_gt(&score)?, weights)?;
        let tied = choose(&scores.broadcast_eq(&score)?, weights, &scalar(0f32, weights)?)?;
        // How many of the equal ones it takes; their weight is above zero, since they make the sum reach.
        let ties = ((needed - above)? / tied.max_keepdim(1)?)?.ceil()?;
        let ties = ties.broadcast_maximum(&scalar(1f32, &ties)?)?;
        let one_each = tied.broadcast_gt(&scalar(0f32, &tied)?)?.to_dtype(DType::F32)?;
        let id = select(constants, &one_each, &ties.affine(1.0, -0.5)?)?;
        Ok(Self { score, id })
    }

    /// `rows` up to this token in the order of `scores`, and `excluded`, broadcast, for those after it.
    pub(super) fn apply(
        &self,
        constants: &Constants,
        scores: &Tensor,
        rows: &Tensor,
        excluded: &Tensor,
    ) -> Result<Tensor> {
        let ids = constants.ids(scores.dim(1)?)?;
        let first_ties = ids.broadcast_le(&self.id)?;
        let tied = choose(&first_ties, rows, excluded)?;
        let kept = choose(&scores.broadcast_ge(&self.score)?, &tied, excluded)?;
        choose(&scores.broadcast_gt(&self.score)?, rows, &kept)
    }
}

/// The largest score at or above which the weights come to `needed`.
///
/// First between which two landmarks it lies, then by halving what is between them: there all numbers are equally
/// far apart, so that halving ends at the one number, exactly.
fn score(constants: &Constants, scores: &Tensor, weights: &Tensor, needed: &Tensor) -> Result<Tensor> {
    let (n, _) = scores.dims2()?;
    // Cut once, not in every round.
    let (scores, weights) = (blocks(scores)?, blocks(weights)?);
    let zero = scalar(0f32, &weights)?;
    let reached = |score: &Tensor| {
        let mask = scores.broadcast_ge(&score.reshape((n, 1, 1))?)?;
        choose(&mask, &weights, &zero)?.sum(2)?.sum_keepdim(1)?.broadcast_ge(needed)
    };
    let landmarks = constants.landmarks()?;
    let landmark = |index: &Tensor| landmarks.index_select(&index.flatten_all()?, 0)?.reshape((n, 1));
    let mut index = Tensor::zeros((n, 1), DType::U32, scores.device())?;
    for bit in (0..9).rev() {
        let tried = index.affine(1.0, f64::from(1 << bit))?;
        index = choose(&reached(&landmark(&tried)?)?, &tried, &index)?;
    }
    let mut low = landmark(&index)?;
    let mut high = landmark(&index.affine(1.0, 1.0)?)?;
    // Once for each bit of the fraction, and once more because the outermost stretch is not quite a power of two.
    for _ in 0..24 {
        let middle = ((&high - &low)?.affine(0.5, 0.0)? + &low)?;
        let reached = reached(&middle)?;
        low = choose(&reached, &middle, &low)?;
        high = choose(&reached, &high, &middle)?;
    }
    Ok(low)
}
