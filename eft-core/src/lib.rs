//! The algebra of logit sources behind emulated fine-tuning.
#![forbid(unsafe_code)]

pub mod backend;
pub mod error;
pub mod host;

pub use backend::{Backend, Edit, Filter, Pick, Pool, Row, Term, TokenMask};
pub use error::{Error, Fault, Result};
pub use host::Host;

/// The id of a token: an index into the rows of its vocabulary.
pub type TokenId = u32;
