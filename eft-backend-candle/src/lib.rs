//! Logit sources run by candle: a placeholder that holds the crate's name and place in the workspace.
//!
//! It contains no code yet. Until it does, models run by candle can be brought in with
//! [`from_fn`](https://docs.rs/eft-core/latest/eft_core/fn.from_fn.html) or by implementing
//! `eft_core::Engine`.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
