//! Emulated fine-tuning with [candle](candle_core): models and scores are candle tensors, on the CPU or a GPU.
//!
//! [`load()`] loads a checkpoint in Hugging Face's layout as a source, [`load_gguf`] a GGUF file. [`Candle`] is the
//! [`Backend`](eft_core::Backend) of one device. Its tensors are ordinary candle tensors of two dimensions, rows ×
//! vocabulary, so any code that computes logits with candle can be a source.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use eft_backend_candle::{Candle, to_error};
//! use eft_core::{Backend, ScoreRow, Term};
//!
//! let candle = Candle::cpu();
//! let logits = |scores: [f32; 3]| Tensor::new(&[scores], &Device::Cpu).map_err(to_error);
//! let (large, tuned, untuned) = (logits([1., 2., 3.])?, logits([0., 5., 0.])?, logits([0., 1., 0.])?);
//! let combined = candle.linear(
//!     &[
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&large, 0)] },
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&tuned, 0)] },
//!         Term { weight: -1.0, rows: vec![ScoreRow::new(&untuned, 0)] },
//!     ],
//!     3,
//! )?;
//! assert_eq!(candle.argmax(&[ScoreRow::new(&combined, 0)], 3)?[0].token, 1);
//! # Ok::<(), eft_core::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod backend;
pub mod gguf;
pub mod load;
pub mod nn;

/// Compiles the decoding of candle's sources in this crate; never called. See `eft-core/src/instances.rs`.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub fn instances(source: &eft_core::Source<Candle>) -> eft_core::Result<()> {
    eft_core::instances::of_backend(source)
}

pub use backend::{Candle, to_error};
pub use candle_core;
pub use candle_core::{DType, Device};
pub use eft_cpu::ops::CacheType;
pub use gguf::{Gguf, load_gguf};
pub use load::load;
pub use nn::{CandleNn, WeightType};
