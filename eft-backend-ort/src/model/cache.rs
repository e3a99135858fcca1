//! The key and value tensors of a decoder's KV cache.
use std::sync::Arc;

use ort::value::{DynValue, TensorElementType};

/// One tensor of the cache, of shape rows × heads × slots × size.
#[derive(Debug)]
pub(super) struct CacheTensor {
    /// The name of the input.
    pub(super) past: String,
    /// The name of the output.
    pub(super) present: String,
    pub(super) element: TensorElementType,
    pub(super) heads: usize,
    pub(super) size: usize,
}

/// The value of a cache tensor. It is never written to, so that several sessions may hold it.
pub(super) type CacheValue = Arc<DynValue>;
