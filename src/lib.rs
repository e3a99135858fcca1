//! **Emulated fine-tuning**: the behaviour of a fine-tuned large language model without training it, by adding to a
//! large model's logits the difference between a small tuned model and the same small model untuned.
//!
//! This crate is the facade: everything of [`eft_core`], one module for each tensor library that is switched on by a
//! feature (`candle` by default, `ort`, `tch`), tokenizers and templates (`text`), and models by name (`load()`; of the
//! Hugging Face hub with `hub`).
//!
//! ```
//! use eft::{from_fn, Host, Sampling, Vocab};
//!
//! // Any model will do; these are functions of the tokens so far.
//! let vocab = Vocab::new("words", ["yes", "no", "</s>"])?.with_eos([2])?;
//! let model = |name: &str, logits: [f32; 3]| {
//!     from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.to_vec()))
//! };
//! let (large, tuned, untuned) =
//!     (model("large", [1.0, 0.9, 0.0]), model("tuned", [0.0, 0.5, 2.0]), model("untuned", [0.0, 0.0, 0.0]));
//!
//! let upscaled = &large + (&tuned - &untuned);
//! let mut text = upscaled.generate([0], Sampling::greedy())?;
//! assert!(text.next().is_none()); // the tuned model knows when to stop
//! # Ok::<(), eft::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub use eft_core::*;
pub use eft_models as models;

#[cfg(feature = "text")]
pub mod load;
#[cfg(feature = "text")]
pub mod text;

#[cfg(feature = "text")]
pub use load::Loader;
#[cfg(all(feature = "text", feature = "candle"))]
pub use load::load;

#[cfg(feature = "candle")]
pub use eft_backend_candle as candle;
#[cfg(feature = "ort")]
pub use eft_backend_ort as ort;
#[cfg(feature = "tch")]
pub use eft_backend_tch as tch;

/// The README's example is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
