//! Decoders as ONNX files: finding them, telling what their inputs and outputs are, running them over caches.
//!
//! # The interface
//! That of Optimum and onnx-community: inputs `input_ids`, `attention_mask`, `position_ids`,
//! `past_key_values.N.key` and `.value`, `use_cache_branch`, `num_logits_to_keep`, of which only the first must be
//! there; outputs `logits`, and `present.N.key` and `.value` for each `past_key_values`. A model without a cache is
//! given all tokens each time.
//!
//! How rows of different length share a cache is told in [`eft_models::graph`].
mod config;
mod decoder;
mod engine;
mod external;
mod files;
mod gather;
mod interface;

pub use engine::OnnxEngine;
pub use external::external_data;
pub use files::usual_places;
