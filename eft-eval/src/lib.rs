#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod error;
mod hash;
pub mod mixture;
pub mod report;
pub mod run;
pub mod stats;
pub mod sweep;
pub mod task;

pub use error::{Error, Result};
pub use hash::content_hash;
pub use report::Report;
pub use run::{Results, Run};
pub use task::{
    Choices, ExactMatch, Extract, FewShot, ImplicitReward, Item, Items, LengthNorm, Normalise, NumericMatch,
    PassFail, Task,
};
