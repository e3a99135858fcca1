//! [`Weights`]: a model's tensors by name, whatever the files that hold them.
//!
//! ```
//! use eft_models::{Checkpoint, Weights};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! let weights: &dyn Weights = &checkpoint;
//! assert_eq!((weights.name().as_ref(), weights.spec().hidden), ("llama", 32));
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::borrow::Cow;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::spec::DecoderSpec;
use crate::tensors::RawTensor;

/// What a decoder is loaded from: a [`Checkpoint`], or a file of another format.
pub trait Weights {
    /// For messages, and for formulas of combined models.
    fn name(&self) -> Cow<'_, str>;

    /// What the model is made of.
    fn spec(&self) -> &DecoderSpec;

    /// Bytes of all tensors, as [`tensor`](Self::tensor) gives them.
    fn bytes(&self) -> u64;

    /// A tensor by the name that the spec has for it, and its shape.
    ///
    /// # Errors
    /// [`Error::BadTensor`](crate::Error::BadTensor) if it is missing, or of another shape, or cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>>;
}

impl Weights for Checkpoint {
    fn name(&self) -> Cow<'_, str> {
        self.name().into()
    }

    fn spec(&self) -> &DecoderSpec {
        self.spec()
    }

    fn bytes(&self) -> u64 {
        self.bytes()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        self.tensor(name, shape)
    }
}
