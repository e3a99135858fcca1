//! The laws that every backend and every source obey, as a kit for tests: ours, and those of whoever wraps an engine
//! or a tensor library of their own.
//!
//! ```
//! use eft_core::conformance::{self, SourceTest};
//! use eft_core::{from_fn, Host, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let source = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32 % 3.0, 0.5]));
//! conformance::check_source(&source, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
//! conformance::check_traffic(&source, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod backend;
mod extremes;
pub mod reference;
mod rows;
mod source;
mod texts;
mod traffic;
pub mod traffic_counter;

pub use backend::check_backend;
pub use source::{SourceTest, check_source};
pub use texts::check_texts;
pub use traffic::check_traffic;
pub use traffic_counter::{Traffic, TrafficCounter, count_traffic};

use crate::Error;
use crate::error::{BoxError, with_sources};

/// A law that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{law}: {details}")]
pub struct Failure {
    /// Which.
    pub law: String,
    /// For which input, and what came out.
    pub details: String,
}

/// Whether a law holds.
pub type Verdict<T = ()> = Result<T, Failure>;

/// Names the law that an operation's failure breaks.
trait Law<T> {
    fn law(self, law: &str) -> Verdict<T>;
}

impl<T, E: Into<BoxError>> Law<T> for Result<T, E> {
    fn law(self, law: &str) -> Verdict<T> {
        self.map_err(|e| Failure { law: law.into(), details: with_sources(&*e.into()) })
    }
}

/// `holds`, or else the law is broken.
fn require(holds: bool, law: &str, details: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Failure { law: law.into(), details: details() }) }
}

/// The operation must fail, with an error of a certain kind.
fn refuses<T>(result: Result<T, Error>, law: &str, kind: impl Fn(&Error) -> bool) -> Verdict {
    match result {
        Ok(_) => Err(Failure { law: law.into(), details: "it was accepted".into() }),
        Err(error) if kind(&error) => Ok(()),
        Err(error) => Err(Failure { law: law.into(), details: format!("another kind of error: {error}") }),
    }
}
