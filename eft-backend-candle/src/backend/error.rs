//! Conversion of errors of candle.
use eft_core::Error;

/// Wraps an error of candle as an [`Error::Backend`], without the backtrace that candle may have put into its message.
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
    Error::backend("candle", without_backtrace(error))
}

/// The error without the backtrace that candle puts into its message.
pub(crate) fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    use candle_core::Error;
    let inside = |inner: Box<Error>| Box::new(without_backtrace(*inner));
    match error {
        Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        Error::WithPath { inner, path } => Error::WithPath { inner: inside(inner), path },
        Error::Context { inner, context } => Error::Context { inner: inside(inner), context },
        other => other,
    }
}
