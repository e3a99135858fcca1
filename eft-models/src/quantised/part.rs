//! [`Part`]: one of the stored tensors that make up a quantised weight.
use std::path::Path;

use safetensors::Dtype;

use crate::tensor_file::{AnyTensor, bad_tensor, plain};
use crate::{Error, Result};

/// One of the stored tensors that make up a quantised weight.
pub(crate) struct Part<'a> {
    pub(crate) file: &'a Path,
    pub(crate) name: String,
    pub(crate) tensor: AnyTensor,
}

impl Part<'_> {
    /// An error that names the tensor.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        bad_tensor(self.file, &self.name, reason.into())
    }

    /// Whether the entries are ordinary floating-point numbers.
    pub(super) fn is_plain(&self) -> bool {
        plain(self.tensor.dtype).is_some()
    }

    /// The entries, which are 32-bit integers, as bits.
    pub(super) fn words(&self, shape: &[usize]) -> Result<Vec<u32>> {
        self.has_shape(shape)?;
        match self.tensor.dtype {
            Dtype::I32 => {
                Ok(self.tensor.bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
            }
            other => Err(self.error(format!("is of type {other:?}; expected I32"))),
        }
    }

    /// The entries, which are numbers of 8 bits.
    pub(super) fn eight_bits(&self, shape: &[usize]) -> Result<Vec<f32>> {
        self.has_shape(shape)?;
        let bytes = self.tensor.bytes.iter();
        match self.tensor.dtype {
            Dtype::I8 => Ok(bytes.map(|byte| f32::from(byte.cast_signed())).collect()),
            Dtype::F8_E4M3 => Ok(bytes.map(|byte| e4m3(*byte)).collect()),
            other => Err(self.error(format!("is of type {other:?}; expected I8 or F8_E4M3"))),
        }
    }

    /// The entries, which are bytes.
    pub(super) fn bytes(&self, shape: &[usize]) -> Result<&[u8]> {
        self.has_shape(shape)?;
        match self.tensor.dtype {
            Dtype::U8 => Ok(&self.tensor.bytes),
            other => Err(self.error(format!("is of type {other:?}; expected U8"))),
        }
    }

    /// The entries, which are ordinary floating-point numbers.
    pub(super) fn numbers(&self) -> Result<Vec<f32>> {
        let numbers = plain(self.tensor.dtype).and_then(|dtype| dtype.numbers(&self.tensor.bytes));
        let other = self.tensor.dtype;
        numbers.ok_or_else(|| self.error(format!("is of type {other:?}; expected F32, F16 or BF16")))
    }

    /// The entries, which are scales: ordinary floating-point numbers, numbers of 8 bits, or exponents of powers of two.
    pub(super) fn scales(&self) -> Result<Vec<f32>> {
        let bytes = self.tensor.bytes.iter();
        match self.tensor.dtype {
            Dtype::U8 => Ok(bytes.map(|byte| e8m0(*byte) as f32).collect()),
            Dtype::F8_E4M3 => Ok(bytes.map(|byte| e4m3(*byte)).collect()),
            _ => self.numbers(),
        }
    }

    /// The two dimensions of a matrix.
    pub(super) fn matrix(&self) -> Result<[usize; 2]> {
        let shape = &self.tensor.shape;
        shape[..].try_into().map_err(|_| self.error(format!("has shape {shape:?}; expected a matrix")))
    }

    fn has_shape(&self, shape: &[usize]) -> Result<()> {
        if self.tensor.shape == shape {
            return Ok(());
        }
        Err(self.error(format!("has shape {:?}; expected {shape:?}", self.tensor.shape)))
    }
}

/// The number of a byte of type F8_E4M3: a sign, four bits of the exponent, three of the mantissa, and no infinities
/// (Micikevicius et al. 2022, arXiv 2209.05433, table 1).
fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = ((byte >> 3) & 15, f32::from(byte & 7));
    let size = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * (-6f32).exp2(),
        _ => (1.0 + mantissa / 8.0) * (f32::from(exponent) - 7.0).exp2(),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

/// The power of two of a byte of type E8M0, whose exponent is stored plus 127.
pub(super) fn e8m0(exponent: u8) -> f64 {
    (f64::from(exponent) - 127.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_numbers_of_e4m3() {
        let known =
            [(0x00, 0.0), (0x01, 1.0 / 512.0), (0x08, 1.0 / 64.0), (0x38, 1.0), (0xBC, -1.5), (0x7E, 448.0)];
        for (byte, number) in known {
            assert_eq!(e4m3(byte), number, "{byte:#x}");
        }
        assert!(e4m3(0x7F).is_nan() && e4m3(0xFF).is_nan());
    }
}
