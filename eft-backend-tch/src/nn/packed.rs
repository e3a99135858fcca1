//! Weights in blocks of oneDNN's own, the library that libtorch multiplies with on processors. With a plain matrix, its
//! products of a few rows take twice as long.
use std::sync::OnceLock;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

/// Calls of the operators, for which libtorch has no function of its own: made by scripts/packed.py.
const OPERATORS: &[u8] = include_bytes!("packed.pt");

/// Weights that are worth it: a call takes some microseconds more.
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
        tensor(operators()?.method_is("pack", &[weight, IValue::Int(ROWS)])?).map(Self)
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }

    /// `x·Wᵀ + b`.
    pub(super) fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let rows = x.size2()?.0;
        let padded =
            if rows < LEAST { x.f_constant_pad_nd([0, 0, 0, LEAST - rows])? } else { x.f_contiguous()? };
        let bias = bias.map_or(IValue::None, |bias| IValue::Tensor(bias.shallow_clone()));
        let weight = IValue::Tensor(self.0.shallow_clone());
        let out = operators()?.forward_is(&[IValue::Tensor(padded), weight, bias])?;
        tensor(out)?.f_narrow(0, 0, rows)
    }
}

fn tensor(value: IValue) -> Result<Tensor, TchError> {
    match value {
        IValue::Tensor(tensor) => Ok(tensor),
        other => Err(TchError::Torch(format!("an operator gave {other:?}"))),
    }
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
    let out = Packed::pack(&ones)?.forward(&ones.f_narrow(0, 0, 1)?, None)?;
    Ok(out.f_double_value(&[0, 0])? == 64.0)
}
