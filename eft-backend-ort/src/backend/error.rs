//! Conversion of errors of ONNX Runtime.
use eft_core::Error;

/// Wraps an error of ONNX Runtime as an [`Error::Backend`].
///
/// ```
/// use eft_core::Error;
///
/// let error = eft_backend_ort::to_error(ort::Error::new("the graph has no node"));
/// assert!(matches!(error, Error::Backend { backend: "ort", .. }));
/// ```
pub fn to_error(error: ort::Error) -> Error {
    Error::backend("ort", error)
}
