//! The host backend.
/// Placeholder while the operations are being written.
#[derive(Debug, Clone, Default)]
pub struct Host;
