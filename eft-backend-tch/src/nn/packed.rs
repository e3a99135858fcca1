//! Weights in blocks of oneDNN's own, the library that libtorch multiplies with on processors. With a plain matrix, its
//! products of a few rows take twice as long.
use std::sync::OnceLock;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

/// Calls of the operators, for which libtorch has no function of its own: made by scripts/packed.py.
const OPERATORS: &[u8] = include_bytes!("packed.pt");

/// Weights that are worth it: a call takes some ten microseconds beside its work.
const FROM: usize = 1 << 16;

/// The rows that oneDNN is told to lay out for. Layouts for fewer serve more of them badly, and not the other way.
const ROWS: i64 = 64;

/// Rows that are multiplied at least: it takes longer for fewer.
const LEAST: i64 = 4;

/// A matrix with a row for each output, packed.
#[derive(Debug)]
pub(super) struct Packed(Tensor);

impl Packed {
    /// `None` where it would be of no use, or is not possible.
    pub(super) fn new(weight: &Tensor) -> Option<Self> {
        let worth_it = weight.device() == Device::Cpu && weight.numel() >= FROM && works(weight.kind());
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
        products.pop().ok_or_else(|| TchError::Torch("an operator gave no product".into()))
    }

    /// The same of several weights that are multiplied with the same `x`, in one call.
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
            IValue::Int(LEAST),
        ];
        match operators()?.forward_is(&arguments)? {
            IValue::TensorList(products) => Ok(products),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(value: &IValue) -> TchError {
    TchError::Torch(format!("an operator gave {value:?}"))
}

fn operators() -> Result<&'static CModule, TchError> {
    static LOADED: OnceLock<Option<CModule>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| CModule::load_data(&mut &OPERATORS[..]).ok());
    loaded.as_ref().ok_or_else(|| TchError::Torch("the operators of packed weights do not load".into()))
}

/// Whether this libtorch and this processor have packed products of a type.
fn works(kind: Kind) -> bool {
    static SINGLE: OnceLock<bool> = OnceLock::new();
    static BRAIN: OnceLock<bool> = OnceLock::new();
    let tried = match kind {
        Kind::Float => &SINGLE,
        Kind::BFloat16 => &BRAIN,
        _ => return false,
    };
    *tried.get_or_init(|| {
        // Without a gradient: packed weights have none.
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

    /// Else everything would be as slow as without it, and no other test would tell.
    #[test]
    fn weights_are_packed_where_they_can_be() {
        let packed = |kind| Packed::new(&Tensor::ones([512, 256], (kind, Device::Cpu))).is_some();
        assert!(packed(Kind::Float));
        assert!(packed(Kind::BFloat16) || !std::is_x86_feature_detected!("avx512bf16"));
    }
}
