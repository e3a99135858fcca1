//! [`Candle`]: the backend that keeps scores in candle tensors, on one device.
//!
//! Each operation has two implementations with the same results. On a GPU it is a handful of candle's tensor operations
//! for all rows of a call, and nothing waits for the device before the picks are read. On the processor it is the
//! kernel of [`Host`](eft_core::Host), which reads a row once instead of a dozen times. [`Candle::generic`] selects the
//! tensor operations on the processor too, which is how they are tested.
//!
//! **The tensor operations have been tested on the processor only.** (With the feature `cuda`, `EFT_DEVICE=cuda cargo test`
//! runs the tests on a GPU.) They use operations and types for which candle has kernels on CUDA and Metal: no `f64`, no sort,
//! no cumulative sum over more than a block of 512 columns, and no empty tensor.
//!
//! # Truncation and draws
//! No score row is sorted or summed up in order. The last token of a top-k or top-p set is found by bisection
//! on its score, in some thirty rounds that each count or weigh the tokens above. A draw uses the cumulative sums of
//! whole blocks, then those within one block.
//!
//! # Traffic
//! To the device: uniforms, token ids and masks, and once for each vocabulary the list of its ids. To the host: picks
//! and the numbers that were requested; for [`top`](eft_core::Backend::top), the scores of the tokens and each row's
//! normaliser.
//!
//! # Files
//! | file | content |
//! | --- | --- |
//! | `candle.rs` | [`Candle`]: checks arguments and calls the function of each operation |
//! | `linear.rs`, `softmax.rs`, `pool.rs`, `clamp.rs`, `filter.rs`, `choose.rs`, `edit.rs`, `residual.rs` | operations that return score rows |
//! | `pick.rs`, `top.rs` | operations that return tokens and log-probs |
//! | `cutoff.rs` | the last token of a top-k or top-p set |
//! | `rows.rs` | rows that lie in any tensors, as one matrix |
//! | `tensor.rs` | helpers over tensors |
//! | `error.rs` | [`to_error`] |
//!
//! The other backends have the same files. These are particular to candle:
//!
//! | file | content |
//! | --- | --- |
//! | `host.rs` | copies of rows for the kernels of [`Host`](eft_core::Host), and its results as tensors |
//! | `select.rs` | columns found by cumulative sums, since candle cannot sum and search whole rows |
//! | `constants.rs` | tensors made once for each device, since each upload takes as long as an operation |
mod candle;
mod choose;
mod clamp;
pub(crate) mod constants;
mod cutoff;
mod edit;
pub(crate) mod error;
mod filter;
mod host;
mod linear;
mod pick;
mod pool;
mod residual;
mod rows;
mod select;
mod softmax;
pub(crate) mod tensor;
mod top;

pub use candle::Candle;
pub use error::to_error;
