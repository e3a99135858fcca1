//! [`Candle`]: scores in candle tensors, worked on by the device they lie on.
//!
//! There are two ways to the same results. On a GPU every operation is a handful of candle's tensor operations for
//! all rows of a call, and nothing waits for the device before the picks are read. On the processor the scores
//! are in main memory already, so the kernels of [`Host`](eft_core::Host) work on them, which read a row once
//! instead of a dozen times. [`Candle::generic`] chooses the first way on the processor, too: that is how it is
//! tested.
//!
//! **The first way has run on the processor only**; no GPU was at hand. It keeps to the operations and types that
//! candle has kernels for on CUDA and Metal: nothing in `f64`, no sort, no running sum wider than
//! [a block](self#how-rows-are-cut).
//!
//! # How rows are cut
//! No vocabulary-wide row is sorted or summed up in order. The last token of a top-k or top-p set is found by
//! bisection on its score: thirty-odd rounds of counting what lies above. The running sums of a draw are of blocks
//! of 512 columns, and then of the columns of one block.
//!
//! # What crosses
//! To the device: uniforms, token ids, masks, and once for each vocabulary the list of its ids. To the host: picks
//! and what was asked for; of [`top`](eft_core::Backend::top), the scores of the tokens and each row's normaliser.
mod candle;
mod constants;
mod cutoff;
mod edit;
mod filter;
mod host;
mod linear;
mod mass;
mod pick;
mod pool;
mod residual;
mod rows;
mod select;
mod tensor;
mod top;

pub use candle::Candle;

/// An error of candle as one of the algebra.
pub fn to_error(error: candle_core::Error) -> eft_core::Error {
    eft_core::Error::backend("candle", error)
}
