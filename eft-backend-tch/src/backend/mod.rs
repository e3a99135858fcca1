//! [`Torch`]: scores in libtorch's tensors, worked on by the device they lie on.
//!
//! Every operation is a handful of tensor operations for all rows of a call, the same on every device. **They have run
//! on the processor only**; no GPU was at hand.
//!
//! # How rows are cut
//! No vocabulary-wide row is sorted where a part of it will do. The last token of a top-k set is found by `topk`, that of
//! a top-p set among the first few hundred tokens, or sixteen times as many if their mass does not reach: whether it
//! does is one flag that crosses to the host.
//!
//! # What crosses
//! To the device: uniforms, token ids and masks. To the host: that flag, picks, and what was asked for.
//!
//! # Gradients
//! None are tracked, in whatever thread: every operation is under a guard of its own.
mod cutoff;
mod edit;
mod filter;
mod linear;
mod mass;
mod pick;
mod pool;
mod residual;
mod rows;
mod tensor;
mod top;
mod torch;

pub(crate) use tensor::integers;
pub use torch::Torch;

/// An error of libtorch as one of the algebra.
pub fn to_error(error: tch::TchError) -> eft_core::Error {
    eft_core::Error::backend("tch", concise(error))
}

/// Without the frames of C++ that libtorch puts behind its messages.
pub(crate) fn concise(error: tch::TchError) -> tch::TchError {
    match error {
        tch::TchError::Torch(message) => {
            let end = message.find("\nException raised from").unwrap_or(message.len());
            tch::TchError::Torch(message[..end].trim_end().into())
        }
        other => other,
    }
}
