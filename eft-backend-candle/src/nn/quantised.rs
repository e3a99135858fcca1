//! Quantised weights as candle's quantised tensors, for GPUs, and as numbers.
use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Result};
use eft_cpu::Matrix;
use eft_models::{Blocks, Dtype, RawTensor};

/// Candle's type of a kind of block; `None` if it has none.
pub(super) fn candle_type(kind: Blocks) -> Option<GgmlDType> {
    Some(match kind {
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
        _ => return None,
    })
}

/// Copies a quantised tensor to a device.
pub(super) fn tensor(raw: &RawTensor<'_>, kind: GgmlDType, device: &Device) -> Result<QTensor> {
    qtensor_from_ggml(kind, &raw.bytes, raw.shape.clone(), device)
}

/// The numbers that a matrix stands for.
pub(crate) fn numbers(raw: &RawTensor<'_>) -> Result<Vec<f32>> {
    if let Some(numbers) = raw.numbers() {
        return Ok(numbers);
    }
    if let Dtype::Quantised(kind) = raw.dtype
        && let Some(kind) = candle_type(kind)
    {
        return tensor(raw, kind, &Device::Cpu)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1();
    }
    let rows = raw.shape.first().map_or(0, |rows| *rows as u32);
    let numbers = Matrix::new(raw).and_then(|matrix| matrix.rows(&(0..rows).collect::<Vec<_>>()));
    match numbers {
        Some(numbers) => Ok(numbers),
        None => candle_core::bail!("{:?} cannot be dequantised on this processor", raw.dtype),
    }
}
