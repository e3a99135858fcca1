//! Quantised weights as candle's quantised tensors, for GPUs.
use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Result};
use eft_models::{Blocks, Dtype, RawTensor};

/// Copies a quantised tensor to a device.
pub(super) fn tensor(raw: &RawTensor<'_>, device: &Device) -> Result<QTensor> {
    let Dtype::Quantised(kind) = raw.dtype else { candle_core::bail!("{} is not quantised", raw.name) };
    let dtype = match kind {
        Blocks::Q4_0 => GgmlDType::Q4_0,
        Blocks::Q4_1 => GgmlDType::Q4_1,
        Blocks::Q5_0 => GgmlDType::Q5_0,
        Blocks::Q5_1 => GgmlDType::Q5_1,
        Blocks::Q8_0 => GgmlDType::Q8_0,
        Blocks::Q2K => GgmlDType::Q2K,
        Blocks::Q3K => GgmlDType::Q3K,
        Blocks::Q4K => GgmlDType::Q4K,
        Blocks::Q5K => GgmlDType::Q5K,
        Blocks::Q6K => GgmlDType::Q6K,
    };
    qtensor_from_ggml(dtype, &raw.bytes, raw.shape.clone(), device)
}
