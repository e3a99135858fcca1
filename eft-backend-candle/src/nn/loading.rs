//! How [`CandleNn`] loads weights.
use candle_core::quantized::QMatMul;
use candle_core::{DType, Result, Tensor};
use eft_cpu::Matrix;
use eft_models::{Dtype, RawTensor};

use super::{CandleNn, Linear, quantised};

impl CandleNn {
    /// A linear layer whose weight is quantised if the settings say so.
    pub(super) fn linear_in_type(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        match self.weight_type.quantised(weight, transposed)? {
            Some(quantised) => self.linear_as_stored(&quantised, false, bias),
            None => self.linear_as_stored(weight, transposed, bias),
        }
    }

    /// A linear layer of a weight as it is.
    pub(super) fn linear_as_stored(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        let bias = bias.map(|b| self.raw(b)).transpose()?;
        let on_device = match weight.dtype {
            Dtype::Quantised(kind) if !transposed && !self.backend.uses_host() => {
                quantised::candle_type(kind)
            }
            _ => None,
        };
        match (Matrix::new(weight), on_device) {
            (Some(stored), _) if self.uses_host() && !transposed => Ok(Linear::stored(stored, bias)),
            (Some(stored), Some(kind)) => {
                let weight = quantised::tensor(weight, kind, self.backend.device())?;
                Ok(Linear::quantised(QMatMul::from_qtensor(weight)?, stored, bias))
            }
            _ => {
                let weight = self.raw(weight)?;
                let weight = if transposed { weight.t()?.contiguous()? } else { weight };
                Ok(Linear::new(weight, bias))
            }
        }
    }

    pub(super) fn raw(&self, raw: &RawTensor<'_>) -> Result<Tensor> {
        let dtype = match raw.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::Quantised(_) => {
                let numbers = quantised::numbers(raw)?;
                let device = self.backend.device();
                return Tensor::from_vec(numbers, &raw.shape[..], device)?.to_dtype(self.dtype);
            }
        };
        Tensor::from_raw_buffer(&raw.bytes, dtype, &raw.shape, self.backend.device())?.to_dtype(self.dtype)
    }
}
