//! Evaluation of logit sources and of their combinations.
//!
//! * [`stats`]: intervals, comparisons and fits, for scores of items;
//! * [`sweep`]: many combinations of the same models at once, and the choice of one of them on validation items;
//! * [`mixture`]: mixtures whose weights are learned.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod mixture;
pub mod stats;
pub mod sweep;
