//! Conversion of errors of candle.
use eft_core::Error;

/// Wraps an error of candle as an [`Error::Backend`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use eft_backend_candle::to_error;
/// use eft_core::Error;
///
/// let row = Tensor::new(&[[1f32, 2.0]], &Device::Cpu).and_then(|tensor| tensor.get(5)).map_err(to_error);
/// assert!(matches!(row, Err(Error::Backend { backend: "candle", .. })));
/// ```
pub fn to_error(error: candle_core::Error) -> Error {
    Error::backend("candle", error)
}
