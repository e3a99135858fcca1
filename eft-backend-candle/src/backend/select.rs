//! Columns found by their cumulative sums: for draws, and to order tied tokens by their ids.
use candle_core::{Result, Tensor};

use super::constants::Constants;
use super::tensor::{blocks, scalar, where_cond};

/// For each row and each of its targets `(n, m)`, the first column at which the cumulative sum of the weights exceeds
/// the target. If rounding keeps the sum from the target, it is the last column of positive weight; 0 if no weight is
/// positive. The result is always a valid column, `(n, m)` as `u32`.
///
/// The block is found by the cumulative sums of whole blocks, then the column by those within the block.
pub(super) fn select(constants: &Constants, weights: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let blocks = blocks(weights)?;
    let (n, count, columns) = blocks.dims3()?;
    let m = targets.dim(1)?;
    let sums = blocks.sum(2)?;
    let ends = sums.matmul(&constants.triangle(count)?)?;
    let block = first_above(constants, &sums, &ends, targets)?;
    let before = (ends.gather(&block, 1)? - sums.gather(&block, 1)?)?;
    let targets = (targets - before)?.reshape((n * m, 1))?;
    let row = constants.ids(n)?.reshape((n, 1))?.affine(count as f64, 0.0)?;
    let inside =
        blocks.reshape((n * count, columns))?.index_select(&block.broadcast_add(&row)?.flatten_all()?, 0)?;
    let ends = inside.matmul(&constants.triangle(columns)?)?;
    let column = first_above(constants, &inside, &ends, &targets)?.reshape((n, m))?;
    block.affine(columns as f64, 0.0)? + column
}

/// The columns that [`select`] finds, given the cumulative sums `ends` of the weights.
fn first_above(constants: &Constants, weights: &Tensor, ends: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (n, width) = weights.dims2()?;
    let m = targets.dim(1)?;
    let none = scalar(u32::MAX, weights)?;
    let ids = constants.ids(width)?;
    // Rounding can make the sum exceed the target at a column of weight zero, which must never be found.
    let positive = weights.broadcast_gt(&scalar(0f32, weights)?)?;
    let last = where_cond(&positive, &ids, &scalar(0u32, weights)?)?.max_keepdim(1)?;
    let candidates = where_cond(&positive, &ids, &none)?.reshape((n, 1, width))?;
    let exceeds = ends.reshape((n, 1, width))?.broadcast_gt(&targets.reshape((n, m, 1))?)?;
    let found = where_cond(&exceeds, &candidates, &none)?.min(2)?;
    where_cond(&found.broadcast_lt(&none)?, &found, &last)
}
