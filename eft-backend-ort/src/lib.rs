//! Emulated fine-tuning over [ONNX Runtime](https://onnxruntime.ai), for decoders exported to ONNX in the layout of
//! Optimum and onnx-community.
//!
//! [`load()`] makes a source of a file or folder. [`Ort`] is the [`Backend`](eft_core::Backend) of one execution
//! provider: scores stay in the provider's memory, and small graphs that run on it combine them, filter them and draw
//! from them.
//!
//! ```no_run
//! use eft_backend_ort::{Options, Ort, load};
//! use eft_core::{Sampling, Vocab};
//!
//! let ort = Ort::new(&Options::default().library("/opt/onnxruntime/lib/libonnxruntime.so").threads(4))?;
//! let vocab = Vocab::anonymous("Llama 3", 128_256)?.with_eos([128_001, 128_009])?;
//! let model = |folder: &str| load(folder, &ort, Some(vocab.clone()));
//! let (tuned, untuned) = (model("Llama-3.2-1B-Instruct-ONNX")?, model("Llama-3.2-1B-ONNX")?);
//! let upscaled = model("Llama-3.2-3B-ONNX")? + (tuned - untuned);
//! for token in upscaled.generate([128_000, 4438, 656], Sampling::default().top_p(0.9).seed(7))? {
//!     println!("{}", token?.id);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The library
//! With the feature `load-dynamic` (default) a build needs nothing native. The first [`Ort`] of a process loads the
//! library of ONNX Runtime, version 1.23 or newer: from [`Options::library`], else from `ORT_DYLIB_PATH`, else from the
//! system's search path. If the library is not found, the result is [`Error::Library`]. The script `get-onnxruntime` in
//! this crate's folder extracts the library from PyPI's wheel. With `download-binaries` and without `load-dynamic`, a
//! build of ONNX Runtime is downloaded and linked.
//!
//! # Execution providers
//! The features `cuda`, `tensorrt`, `coreml`, `directml`, `openvino` and others enable those of [`ort`], for use with
//! [`Options::provider`]. **Only the CPU provider has been tested.**
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod backend;
pub mod error;
mod library;
pub mod load;
pub mod model;
pub mod options;

pub use backend::{Ort, Tensor, to_error};
pub use error::{Error, Result};
pub use load::load;
pub use model::OnnxEngine;
pub use options::Options;
pub use ort;
pub use ort::session::builder::GraphOptimizationLevel;
