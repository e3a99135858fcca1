//! Conversion of errors of libtorch.
use eft_core::Error;
use tch::TchError;

/// Wraps an error of libtorch as an [`Error::Backend`].
///
/// ```
/// use eft_backend_tch::{Device, Kind, to_error};
/// use eft_core::Error;
///
/// let row = tch::Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)).f_get(5).map_err(to_error);
/// assert!(matches!(row, Err(Error::Backend { backend: "tch", .. })));
/// ```
pub fn to_error(error: TchError) -> Error {
    Error::backend("tch", concise(error))
}

/// The error without the C++ stack frames that libtorch appends to its messages.
pub(crate) fn concise(error: TchError) -> TchError {
    match error {
        TchError::Torch(message) => {
            let end = message.find("\nException raised from").unwrap_or(message.len());
            TchError::Torch(message[..end].trim_end().into())
        }
        other => other,
    }
}
