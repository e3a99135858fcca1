//! [`Ort`]: the backend that keeps scores as values of an execution provider of ONNX Runtime.
//!
//! Each operation is a graph of a few ONNX operators. It is built at run time through ONNX Runtime's model editor API,
//! compiled when it is first needed, and kept for its operation and the layout of its rows. Inputs and outputs are
//! bound where they are, so scores stay in the provider's memory, and a model's logits are combined where the model
//! left them.
//!
//! **Only the CPU provider has been tested.** The graphs use operators of opset 18 for which the CUDA provider has
//! kernels.
//!
//! # Truncation and draws
//! No score row is sorted. Top-p and min-p look at the 256 tokens of highest score, then at 4096, then at
//! all, until every row's cut-off is among them; one flag a row, sent to the host, says whether it is. A draw sums the
//! weights by blocks of 512 columns, and then within one block.
//!
//! # Traffic
//! To the device: uniforms, token ids, row indices, masks, weights and settings. To the host: picks, the numbers that
//! were requested, and the flags of a filter that truncates by top-p or min-p without top-k.
//!
//! # Files
//! | file | content |
//! | --- | --- |
//! | `ort.rs` | [`Ort`]: checks arguments and calls the function of each operation |
//! | `linear.rs`, `softmax.rs`, `pool.rs`, `clamp.rs`, `filter.rs`, `choose.rs`, `edit.rs`, `residual.rs` | operations that return score rows |
//! | `pick.rs`, `top.rs` | operations that return tokens and log-probs |
//! | `rows.rs` | rows that lie in any tensors, as one input |
//! | `tensor.rs` | [`Tensor`], and helpers over values |
//! | `error.rs` | [`to_error`] |
//!
//! The other backends have the same files. These are particular to ONNX Runtime, where an operation must be a graph:
//!
//! | file | content |
//! | --- | --- |
//! | `graph_builder.rs` | a graph under construction, operator by operator |
//! | `graph.rs`, `runner.rs` | a compiled graph, and a session that many threads may run |
//! | `operation.rs` | which graph an operation needs: the key that graphs are kept by |
//! | `runtime.rs` | the environment, the options and the compiled graphs |
//!
//! This backend has no `cutoff.rs`, since one `TopK` inside the graph finds the last token of a nucleus.
mod choose;
mod clamp;
mod edit;
mod error;
mod filter;
pub(crate) mod graph;
pub(crate) mod graph_builder;
mod linear;
mod operation;
mod ort;
mod pick;
mod pool;
mod residual;
mod rows;
pub(crate) mod runner;
mod runtime;
mod softmax;
mod tensor;
mod top;

pub use self::error::to_error;
pub use self::ort::Ort;
pub use self::tensor::Tensor;
pub(crate) use self::tensor::{integers, value};
