//! Evaluation of models and of their combinations.
//!
//! * [`mixture`]: fitting the weights of learned mixtures.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod mixture;
