//! [`Packed`]: weights in the blocked layout of oneDNN, the library that libtorch multiplies with on processors.
//!
//! Products of a few rows with an ordinary matrix take twice as long.
use std::sync::OnceLock;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

/// A TorchScript module that calls oneDNN's operators, which have no C++ function. `scripts/packed.py` makes it.
const OPERATORS: &[u8] = include_bytes!("packed.pt");

/// The smallest number of weights worth packing, since each call costs some ten microseconds.
const MIN_WEIGHTS: usize = 1 << 16;

/// The number of rows that the layout is optimised for. A layout for fewer rows is slow for more rows, but not the
/// reverse.
const ROWS: i64 = 64;

/// The smallest number of rows that is multiplied. Fewer rows take longer, so they are padded.
const MIN_ROWS: i64 = 4;

/// A packed (outputs, inputs) matrix.
#[derive(Debug)]
pub(super) struct Packed(Tensor);

impl Packed {
    /// Packs the weights; `None` if that is not possible or would not be faster.
    pub(super) fn new(weight: &Tensor) -> Option<Self> {
        let worth_it =
            weight.device() == Device::Cpu && weight.numel() >= MIN_WEIGHTS && is_supported(weight.kind());
        if worth_it { Self::pack(weight).ok() } else { None }
    }

    fn pack(weight: &Tensor) -> Result<Self, TchError> {
        let weight = IValue::Tensor(weight.shallow_clone());
        match operators()?.method_is("pack", &[weight, IValue::Int(ROWS)])? {
            IValue::Tensor(packed) => Ok(Self(packed)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }

    /// `x·Wᵀ + b`.
    pub(super) fn product(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let mut products = Self::products(x, &[self], &[bias])?;
        products
            .pop()
            .ok_or_else(|| TchError::Torch("the operator for packed weights returned no product".into()))
    }

    /// The products of several weights with the same `x`, in one call.
    pub(super) fn products(
        x: &Tensor,
        weights: &[&Self],
        biases: &[Option<&Tensor>],
    ) -> Result<Vec<Tensor>, TchError> {
        let none = Tensor::f_empty([0], (x.f_kind()?, Device::Cpu))?;
        let biases = biases.iter().map(|bias| bias.unwrap_or(&none).shallow_clone()).collect();
        let weights = weights.iter().map(|weight| weight.0.shallow_clone()).collect();
        let arguments = [
            IValue::Tensor(x.f_contiguous()?),
            IValue::TensorList(weights),
            IValue::TensorList(biases),
            IValue::Int(MIN_ROWS),
        ];
        match operators()?.forward_is(&arguments)? {
            IValue::TensorList(products) => Ok(products),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(value: &IValue) -> TchError {
    TchError::Torch(format!("the operator for packed weights returned {value:?}"))
}

fn operators() -> Result<&'static CModule, TchError> {
    static LOADED: OnceLock<Option<CModule>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| CModule::load_data(&mut &OPERATORS[..]).ok());
    loaded.as_ref().ok_or_else(|| TchError::Torch("the operators for packed weights cannot be loaded".into()))
}

/// Whether this libtorch and this processor have packed products of a type, which is tried once.
fn is_supported(kind: Kind) -> bool {
    static FLOAT: OnceLock<bool> = OnceLock::new();
    static BFLOAT16: OnceLock<bool> = OnceLock::new();
    let tried = match kind {
        Kind::Float => &FLOAT,
        Kind::BFloat16 => &BFLOAT16,
        _ => return false,
    };
    *tried.get_or_init(|| {
        // Packed weights cannot track gradients.
        tch::no_grad(|| try_out(kind)).unwrap_or(false)
    })
}

fn try_out(kind: Kind) -> Result<bool, TchError> {
    let ones = Tensor::f_ones([64, 64], (kind, Device::Cpu))?;
    let out = Packed::pack(&ones)?.product(&ones.f_narrow(0, 0, 1)?, None)?;
    Ok(out.f_double_value(&[0, 0])? == 64.0)
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// No other test would fail if weights were never packed.
    #[test]
    fn weights_are_packed_where_they_can_be() {
        let packed = |kind| Packed::new(&Tensor::ones([512, 256], (kind, Device::Cpu))).is_some();
        assert!(packed(Kind::Float));
        assert!(packed(Kind::BFloat16) || !std::is_x86_feature_detected!("avx512bf16"));
    }
}
