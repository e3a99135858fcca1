//! Small helpers over candle's tensors. Throughout, `(n, 1)` holds one number for each of `n` rows.
use candle_core::{DType, Result, Tensor, WithDType};

/// Columns of a block: running sums are of no more.
const BLOCK: usize = 512;

/// One number that broadcasts to any matrix. Filled in on the device: nothing crosses.
pub(super) fn scalar<T: WithDType>(value: T, like: &Tensor) -> Result<Tensor> {
    Tensor::full(value, (1, 1), like.device())
}

/// Elementwise: `yes` where `mask`, else `no`; both broadcast to the mask.
pub(super) fn choose(mask: &Tensor, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    mask.where_cond(&yes.broadcast_as(mask.shape())?, &no.broadcast_as(mask.shape())?)
}

/// Rows cut into blocks, the last one filled up with zeros: `(n, blocks, columns)`.
pub(super) fn blocks(weights: &Tensor) -> Result<Tensor> {
    let (n, width) = weights.dims2()?;
    let columns = width.min(BLOCK);
    let count = width.div_ceil(columns);
    weights.pad_with_zeros(1, 0, count * columns - width)?.reshape((n, count, columns))
}

/// The sum of each row as `(n, 1)`: block by block, since a long sum of `f32` loses digits.
pub(super) fn sum(weights: &Tensor) -> Result<Tensor> {
    blocks(weights)?.sum(2)?.sum_keepdim(1)
}

/// The sum of each row's weights under a mask, `(n, 1)`.
pub(super) fn sum_where(mask: &Tensor, weights: &Tensor) -> Result<Tensor> {
    sum(&choose(mask, weights, &scalar(0f32, weights)?)?)
}

/// How many entries of each row a mask holds, `(n, 1)`: exact up to 2²⁴.
pub(super) fn count(mask: &Tensor) -> Result<Tensor> {
    sum(&mask.to_dtype(DType::F32)?)
}

/// NaN in each row for which `witness`, `(n, 1)` and otherwise finite, is NaN.
pub(super) fn poison(rows: &Tensor, witness: &Tensor) -> Result<Tensor> {
    rows.broadcast_add(&witness.affine(0.0, 0.0)?)
}

/// The numbers of an `(n, 1)`, on the host.
pub(super) fn numbers<T: WithDType>(column: &Tensor) -> Result<Vec<T>> {
    column.flatten_all()?.to_vec1()
}
