//! [`Weights`]: a model's architecture and tensors, whatever the format of the files that hold them.
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

/// The weights of a model: a [`Checkpoint`], or a file of another format.
pub trait Weights {
    /// Returns the model's name, for messages and for formulas of combined models.
    fn name(&self) -> Cow<'_, str>;

    /// Returns the architecture of the model.
    fn spec(&self) -> &DecoderSpec;

    /// Returns the size of all tensors in bytes, in the form in which [`tensor`](Self::tensor) returns them.
    fn bytes(&self) -> u64;

    /// Returns the tensor of the given name and shape. Names are those of the [spec](Self::spec), followed by `.weight`
    /// or `.bias`.
    ///
    /// # Errors
    /// [`Error::BadTensor`](crate::Error::BadTensor) if the tensor is missing, has another shape, or cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>>;

    /// Returns the weight of a linear layer as [`tensor`](Self::tensor) does; or as it is stored, with the width of a head,
    /// if its rows only have to be [unpaired](RawTensor::unpaired). A library that can do that while it multiplies needs no
    /// copy of a weight that is mapped into memory: see [`Nn::load_paired`](crate::Nn::load_paired). By default, it is what
    /// `tensor` returns.
    ///
    /// # Errors
    /// [`Error::BadTensor`](crate::Error::BadTensor) if the tensor is missing, has another shape, or cannot be read.
    fn linear(&self, name: &str, shape: &[usize]) -> Result<(RawTensor<'_>, Option<usize>)> {
        Ok((self.tensor(name, shape)?, None))
    }

    /// Returns one of the matrices, or vectors, that the tensor of the given name and shape consists of: that of the given
    /// index along the first dimension. A matrix of quantised blocks is returned as outputs × inputs, though the shape says
    /// inputs × outputs: blocks are runs of inputs.
    ///
    /// # Errors
    /// [`Error::BadTensor`](crate::Error::BadTensor) if the tensor is missing, has another shape, or cannot be read.
    ///
    /// # Panics
    /// Panics if the index is not less than the first size.
    fn part(&self, name: &str, index: usize, shape: &[usize]) -> Result<RawTensor<'_>> {
        Ok(self.tensor(name, shape)?.part(index))
    }
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

    fn part(&self, name: &str, index: usize, shape: &[usize]) -> Result<RawTensor<'_>> {
        self.part(name, index, shape)
    }
}
