//! Helpers over candle's tensors. A tensor of shape `(n, 1)` holds one number for each of `n` rows.
use candle_core::{DType, Result, Tensor, WithDType};

/// The number of columns in a block. Sums are taken by blocks, since a long sum of `f32` loses digits.
const BLOCK: usize = 512;

/// A number as a `(1, 1)` that broadcasts. It is filled in on the device of `like`, without an upload.
pub(crate) fn scalar<T: WithDType>(value: T, like: &Tensor) -> Result<Tensor> {
    Tensor::full(value, (1, 1), like.device())
}

/// Elementwise: `yes` where `mask` is true, else `no`. Both broadcast to the shape of the mask.
pub(crate) fn where_cond(mask: &Tensor, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    mask.where_cond(&yes.broadcast_as(mask.shape())?, &no.broadcast_as(mask.shape())?)
}

/// Rows split into blocks, the last one padded with zeros: `(n, count, columns)`.
pub(super) fn blocks(weights: &Tensor) -> Result<Tensor> {
    let (n, width) = weights.dims2()?;
    let columns = width.min(BLOCK);
    let count = width.div_ceil(columns);
    weights.pad_with_zeros(1, 0, count * columns - width)?.reshape((n, count, columns))
}

/// The sum of each row, `(n, 1)`.
pub(super) fn sum(weights: &Tensor) -> Result<Tensor> {
    blocks(weights)?.sum(2)?.sum_keepdim(1)
}

/// The sum of each row's weights where the mask is true, `(n, 1)`.
pub(super) fn sum_where(mask: &Tensor, weights: &Tensor) -> Result<Tensor> {
    sum(&where_cond(mask, weights, &scalar(0f32, weights)?)?)
}

/// The number of true entries in each row of a mask, `(n, 1)` as `f32`; exact up to 2²⁴.
pub(super) fn count(mask: &Tensor) -> Result<Tensor> {
    sum(&mask.to_dtype(DType::F32)?)
}

/// `rows` with NaN in each row whose `log_sum`, `(n, 1)`, is NaN. Other entries of `log_sum` must be finite.
pub(super) fn keep_unsound(rows: &Tensor, log_sum: &Tensor) -> Result<Tensor> {
    rows.broadcast_add(&log_sum.affine(0.0, 0.0)?)
}

/// The numbers of an `(n, 1)`, on the host.
pub(super) fn numbers<T: WithDType>(column: &Tensor) -> Result<Vec<T>> {
    column.flatten_all()?.to_vec1()
}
