//! Emulated fine-tuning over [ONNX Runtime](https://onnxruntime.ai): any decoder exported the way the ecosystem
//! exports them, on any execution provider.
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
