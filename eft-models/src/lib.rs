//! Decoder families for emulated fine-tuning, described once for every tensor library.
//!
//! A family is a function from a `config.json` to a [`DecoderSpec`]: sizes, kinds of norms, names of tensors. A single
//! decoder runs every spec, with the operations that a tensor library implements as [`Nn`]. A [`Checkpoint`], or any
//! other [`Weights`], becomes a [`DecoderEngine`], and that an [`eft_core::Source`]. Decoders that were exported as
//! functions, such as ONNX files, run through [`graph`].
//!
//! ```
//! use eft_models::Checkpoint;
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/gemma3"))?;
//! let windows: Vec<_> = checkpoint.spec().layers.iter().map(|l| l.attention.window).collect();
//! assert_eq!(windows, [Some(6), Some(6), None]);
//! # Ok::<(), eft_models::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod adapter;
mod cache_room;
pub mod checkpoint;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod decoder;
mod embedding;
pub mod engine;
pub mod error;
mod families;
mod feed_forward;
pub mod fork;
pub mod graph;
mod layout;
mod loader;
mod lora;
pub mod nn;
mod norm;
mod pass_logits;
mod quantised;
mod reach;
pub mod rope;
mod session;
pub mod spec;
pub mod spelling;
mod tensor_file;
pub mod tensors;
pub mod warning;
pub mod weights;

pub use adapter::Adapter;
pub use cache_room::{CacheMove, CacheRoom};
pub use checkpoint::Checkpoint;
pub use engine::DecoderEngine;
pub use error::{Error, Result};
pub use fork::fork;
pub use nn::{AttentionInput, Nn, Span};
pub use spec::DecoderSpec;
pub use spelling::Spelling;
pub use tensor_file::{map_file, read_file};
pub use tensors::{Blocks, Dtype, RawTensor};
pub use warning::FieldWarning;
pub use weights::Weights;
