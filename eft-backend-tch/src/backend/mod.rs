//! [`Torch`]: the backend that keeps scores in libtorch's tensors, on one device.
//!
//! Each operation is a handful of tensor operations for all rows of a call, the same on every device. **Only the
//! processor has been tested.** No gradients are tracked, in any thread: each operation runs under a guard.
//!
//! # Truncation and draws
//! No score row is sorted. `topk` finds the last token of a top-k set. The last token of a top-p set is
//! searched for among the first 256 tokens, then among sixteen times as many, and so on until their mass suffices; one
//! flag, sent to the host, reports whether it does. Draws use cumulative sums in `f64` (in `f32` on Metal, which has no
//! `f64`).
//!
//! # Traffic
//! To the device: uniforms, token ids and masks. To the host: picks, the numbers that were requested, and the flag of a
//! filter with top-p.
//!
//! # Files
//! | file | content |
//! | --- | --- |
//! | `torch.rs` | [`Torch`]: checks arguments and calls the function of each operation |
//! | `linear.rs`, `softmax.rs`, `pool.rs`, `clamp.rs`, `filter.rs`, `choose.rs`, `edit.rs`, `residual.rs` | operations that return score rows |
//! | `pick.rs`, `top.rs` | operations that return tokens and log-probs |
//! | `cutoff.rs` | the last token of a top-k or top-p set |
//! | `rows.rs` | rows that lie in any tensors, as one matrix |
//! | `tensor.rs` | helpers over tensors |
//! | `error.rs` | [`to_error`] |
//!
//! The other backends have the same files.
mod choose;
mod clamp;
mod cutoff;
mod edit;
mod error;
mod filter;
mod linear;
mod pick;
mod pool;
mod residual;
mod rows;
mod softmax;
mod tensor;
mod top;
mod torch;

pub(crate) use error::concise;
pub use error::to_error;
pub(crate) use tensor::{integers, sent};
pub use torch::Torch;
