//! Decoders that were exported as graphs: functions from tokens and caches to logits and new caches.
//!
//! A tensor library that runs such functions implements [`Graph`], and [`GraphEngine`] makes an engine of it: sessions
//! over ragged batches, rollback, copies of rows, long prompts in several passes. ONNX files and TorchScript modules
//! run this way.
//!
//! # How rows of different length share a cache
//! A cache has rows and *slots*. A pass adds as many slots to every row as the row that is fed most has new tokens.
//! Slots of a row that hold none of its tokens are *masked*: the attention mask leaves them out, and positions do not
//! count them. A rollback only masks slots, so it costs nothing. When too many slots are masked, or when they run out,
//! the others are gathered into a new cache; so are the rows of a selection.
//!
//! Whether a model supports masked slots is tested when it is loaded, since the names of its inputs do not show it: it
//! may have no mask, count positions by the length of its cache, or use the mask only for its length. Each row of such
//! a model gets its own caches and passes. So does each row of a model with a sliding window, which counts slots.
//!
//! # Checks when a graph is loaded
//! Logits over the cache must be those of the same tokens in one pass, up to rounding: a bound follows from the
//! declared [`Precision`] and from how much the model's logits vary by themselves (quantised activations do). A
//! difference above the bound is reported as a [warning](GraphEngine::warnings), one above four times the bound is an
//! [error](GraphError::Cache).
//!
//! ```
//! use eft_core::{Backend, Host, Result, Sampling, Source};
//! use eft_models::graph::{
//!     ForwardInput, ForwardOutput, Graph, GraphCaps, GraphEngine, GraphSettings, Precision, SlotSelection,
//! };
//!
//! /// Each token is followed by the next one. It needs no cache.
//! struct Counting;
//!
//! impl Graph for Counting {
//!     type Backend = Host;
//!     type Caches = ();
//!
//!     fn backend(&self) -> &Host {
//!         &Host
//!     }
//!
//!     fn caps(&self) -> GraphCaps {
//!         GraphCaps { cached: false, masked: false, one_row: false, precision: Precision::F32 }
//!     }
//!
//!     fn forward(&self, input: &ForwardInput, _: Option<&()>) -> Result<ForwardOutput<Self>> {
//!         let logits = |id: &i64| (0..8).map(|next| if next == (id + 1) % 8 { 5.0 } else { 0.0 }).collect();
//!         let logits: Vec<Vec<f32>> = input.ids.iter().map(logits).collect();
//!         let logits = Host.upload(&logits.concat(), 8)?;
//!         Ok(ForwardOutput { logits: Some((logits, input.tokens)), caches: None })
//!     }
//!
//!     fn gather(&self, _: &(), _: usize, _: &[SlotSelection]) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! let engine = GraphEngine::new(Counting, GraphSettings::new("counting"), None)?;
//! let text = Source::new(engine).generate([3], Sampling::greedy())?.take(3);
//! assert_eq!(text.map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?, [4, 5, 6]);
//! # Ok::<(), eft_models::graph::GraphError>(())
//! ```
mod cached;
mod engine;
mod error;
mod interface;
mod plan;
mod probe;
mod settings;
mod shared_cache;
#[cfg(test)]
mod testing;
mod uncached;

pub use engine::GraphEngine;
pub use error::GraphError;
pub use interface::{ForwardInput, ForwardOutput, Graph, GraphCaps, Precision, SlotSelection};
pub use settings::GraphSettings;
