//! Small helpers over libtorch's tensors. Throughout, `(n, 1)` holds one number for each of `n` rows.
use tch::kind::Element;
use tch::{Device, Kind, TchError, Tensor};

/// What libtorch's functions return.
pub(super) type Result<T = Tensor> = std::result::Result<T, TchError>;

/// The widest floating-point type of a device: sums over a vocabulary lose digits in `f32`.
pub(super) fn wide(tensor: &Tensor) -> Kind {
    // Metal has no other.
    if tensor.device() == Device::Mps { Kind::Float } else { Kind::Double }
}

/// Integers in a list, on a device.
pub(crate) fn integers(numbers: impl IntoIterator<Item = usize>, device: Device) -> Result {
    let numbers: Vec<_> = numbers.into_iter().map(|number| number as i64).collect();
    Tensor::f_from_slice(&numbers)?.f_to(device)
}

/// NaN in each row for which `witness`, `(n, 1)` and otherwise finite, is NaN.
pub(super) fn poison(rows: &Tensor, witness: &Tensor) -> Result {
    rows.f_add(&witness.f_mul_scalar(0.0)?)
}

/// The first tokens of each row in descending order, with their ids.
pub(super) fn first(scores: &Tensor, k: usize) -> Result<(Tensor, Tensor)> {
    scores.f_topk(k as i64, 1, true, true)
}

/// The numbers of a tensor, on the host.
pub(super) fn numbers<T: Element + Clone + Default>(tensor: &Tensor) -> Result<Vec<T>> {
    let count = tensor.numel();
    let mut numbers = vec![T::default(); count];
    tensor.f_contiguous()?.f_copy_data(&mut numbers, count)?;
    Ok(numbers)
}
