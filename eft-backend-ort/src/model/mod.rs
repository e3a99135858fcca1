//! Decoders as ONNX files: finding them, telling what their inputs and outputs are, running them over caches.
//!
//! # The interface
//! That of Optimum and onnx-community: inputs `input_ids`, `attention_mask`, `position_ids`,
//! `past_key_values.N.key` and `.value`, `use_cache_branch`, `num_logits_to_keep`, of which only the first must be
//! there; outputs `logits`, and `present.N.key` and `.value` for each `past_key_values`. A model without a cache is
//! given all tokens each time.
//!
//! # How rows of different length share a cache
//! A cache is a value of rows × heads × *slots* × size, and a pass adds as many slots to each row as the row that is
//! fed most has tokens. What a row has no token for is a *hole*: left out by the attention mask, and not counted
//! by the positions. A rollback makes holes, too, and so costs nothing. When there are too many of them, or slots
//! run out, what is left is gathered into a new cache; and so are rows that are selected.
//!
//! Whether a model can be told of holes is tried out when it is loaded, since its names do not say: it may have no
//! mask, count positions by the length of its cache, or take the mask for no more than a length. Rows of such a
//! model get caches and passes of their own. So do those of models with a sliding window, which counts slots.
mod block;
mod cached;
mod config;
mod decoder;
mod engine;
mod external;
mod files;
mod gather;
mod interface;
mod probe;
mod recomputed;
mod scored;

pub use engine::OnnxEngine;
pub use external::external_data;
pub use files::usual_places;
