//! Decoders exported to ONNX: finding their files, reading their interface, running them over KV caches.
//!
//! # The interface
//! The names of inputs and outputs are those of Optimum and onnx-community. Inputs: `input_ids`, and optionally
//! `attention_mask`, `position_ids`, `past_key_values.N.key` and `past_key_values.N.value`, `use_cache_branch` and
//! `num_logits_to_keep`. Outputs: `logits`, and `present.N.key` and `present.N.value` for each `past_key_values`. A
//! model without a cache is fed all tokens in each pass.
//!
//! [`eft_models::graph`] describes how rows of different length share a cache.
mod cache;
mod config;
mod decoder;
mod engine;
mod external;
mod files;
mod gather;
mod interface;

pub use engine::OnnxEngine;
pub use external::external_data;
pub use files::usual_paths;
