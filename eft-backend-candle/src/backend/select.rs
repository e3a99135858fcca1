//! Columns found by their running sums: the heart of drawing, and of telling ties apart by id.
use candle_core::{Result, Tensor};

use super::constants::Constants;
use super::tensor::{blocks, choose, scalar};

/// For each row and each of its targets `(n, m)`, the first column at which the running sum of the weights exceeds
/// the target; the last column of a weight above zero if rounding keeps the sum from it; 0 if there is none. Always
/// a column that exists, `(n, m)` as `u32`.
///
/// The sums are of whole blocks first, then of the columns of the block that was found.
pub(super) fn select(constants: &Constants, weights: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let blocks = blocks(weights)?;
    let (n, count, columns) = blocks.dims3()?;
    let m = targets.dim(1)?;
    let sums = blocks.sum(2)?;
    let ends = sums.matmul(&constants.triangle(count)?)?;
    let block = first(constants, &sums, &ends, targets)?;
    let before = (ends.gather(&block, 1)? - sums.gather(&block, 1)?)?;
    let targets = (targets - before)?.reshape((n * m, 1))?;
    let row = constants.ids(n)?.reshape((n, 1))?.affine(count as f64, 0.0)?;
    let inside =
        blocks.reshape((n * count, columns))?.index_select(&block.broadcast_add(&row)?.flatten_all()?, 0)?;
    let ends = inside.matmul(&constants.triangle(columns)?)?;
    let column = first(constants, &inside, &ends, &targets)?.reshape((n, m))?;
    block.affine(columns as f64, 0.0)? + column
}

/// As [`select`], given the running sums `ends`.
fn first(constants: &Constants, weights: &Tensor, ends: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (n, width) = weights.dims2()?;
    let m = targets.dim(1)?;
    let none = scalar(u32::MAX, weights)?;
    let ids = constants.ids(width)?;
    // Rounding can make the sums exceed a target at a weight of zero, which must never be found.
    let counts = weights.broadcast_gt(&scalar(0f32, weights)?)?;
    let last = choose(&counts, &ids, &scalar(0u32, weights)?)?.max_keepdim(1)?;
    let candidates = choose(&counts, &ids, &none)?.reshape((n, 1, width))?;
    let exceeds = ends.reshape((n, 1, width))?.broadcast_gt(&targets.reshape((n, m, 1))?)?;
    let found = choose(&exceeds, &candidates, &none)?.min(2)?;
    choose(&found.broadcast_lt(&none)?, &found, &last)
}
