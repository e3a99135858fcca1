//! Logit sources run by ONNX Runtime: a placeholder that holds the crate's name and place in the workspace.
//!
//! It contains no code yet. Until it does, models run by ONNX Runtime can be brought in with
//! [`from_fn`](https://docs.rs/eft-core/latest/eft_core/fn.from_fn.html) or by implementing
//! `eft_core::Engine`.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
