//! Helpers over libtorch's tensors. A tensor of shape `(n, 1)` holds one number for each of `n` rows.
use tch::kind::Element;
use tch::{Device, Kind, TchError, Tensor};

/// The result of libtorch's functions.
pub(super) type Result<T = Tensor> = std::result::Result<T, TchError>;

/// The widest floating-point type of the tensor's device. Sums over a vocabulary lose digits in `f32`.
pub(super) fn wide(tensor: &Tensor) -> Kind {
    // Metal has no `f64`.
    if tensor.device() == Device::Mps { Kind::Float } else { Kind::Double }
}

/// A list of integers on a device.
pub(crate) fn integers(numbers: impl IntoIterator<Item = usize>, device: Device) -> Result {
    let numbers: Vec<_> = numbers.into_iter().map(|number| number as i64).collect();
    sent(&Tensor::f_from_slice(&numbers)?, device)
}

/// A tensor of ordinary main memory on a device. A GPU is not waited for: the numbers are read before the call returns, and
/// what was launched before goes on meanwhile.
pub(crate) fn sent(tensor: &Tensor, device: Device) -> Result {
    match device {
        Device::Cuda(_) => tensor.f_to_device_(device, tensor.f_kind()?, true, false),
        _ => tensor.f_to(device),
    }
}

/// `rows` with NaN in each row whose `log_sum`, `(n, 1)`, is NaN. Other entries of `log_sum` must be finite.
pub(super) fn keep_unsound(rows: &Tensor, log_sum: &Tensor) -> Result {
    rows.f_add(&log_sum.f_mul_scalar(0.0)?)
}

/// The `k` largest scores of each row in descending order, and their ids, `(n, k)` each.
pub(super) fn topk(scores: &Tensor, k: usize) -> Result<(Tensor, Tensor)> {
    scores.f_topk(k as i64, 1, true, true)
}

/// The numbers of a tensor, on the host.
pub(super) fn numbers<T: Element + Clone + Default>(tensor: &Tensor) -> Result<Vec<T>> {
    let count = tensor.numel();
    let mut numbers = vec![T::default(); count];
    tensor.f_contiguous()?.f_copy_data(&mut numbers, count)?;
    Ok(numbers)
}
