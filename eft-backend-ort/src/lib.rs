//! Emulated fine-tuning over [ONNX Runtime](https://onnxruntime.ai): decoders exported to ONNX the way the ecosystem
//! exports them, on the execution providers that ONNX Runtime has.
//!
//! [`load()`] makes a source of a file or folder, as Optimum and onnx-community lay it out. [`Ort`] is the
//! [`Backend`](eft_core::Backend) of one execution provider: scores are values of its own, and are combined, filtered
//! and drawn from by small graphs that run on it.
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
//! With the feature `load-dynamic` (default) nothing native is needed to build. When the first [`Ort`] is made, the
//! library of ONNX Runtime, 1.23 or newer, is loaded from [`Options::library`], or from where `ORT_DYLIB_PATH` says,
//! or from where the system looks for libraries; a missing one is an [`Error::Library`]. The script
//! `get-onnxruntime` beside this crate takes it out of PyPI's wheel. Without `load-dynamic`, but with
//! `download-binaries`, a build of ONNX Runtime is downloaded and linked.
//!
//! # Execution providers
//! Features pass through to [`ort`]: `cuda`, `tensorrt`, `coreml`, `directml`, `openvino` and others, to be used with
//! [`Options::provider`]. **Only the processor's provider has been run**; no other was at hand.
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
