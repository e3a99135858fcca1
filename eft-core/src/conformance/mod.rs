//! The laws that every backend, engine and source obeys, as a test kit: for the implementations of this workspace, and
//! for your own.
//!
//! | you implement | you call |
//! |---|---|
//! | [`Backend`](crate::Backend) | [`check_backend`], [`check_texts`] |
//! | [`Engine`](crate::Engine) and its sessions | [`check_engine`]; [`check_source`] and [`check_joins`] on its source |
//! | [`LogitSource`](crate::LogitSource) | [`check_source`], [`check_traffic`], [`check_joins`] |
//!
//! Each check returns the first law that does not hold, with the input for which it fails.
//!
//! ```
//! use eft_core::conformance::{self, SourceTest};
//! use eft_core::{from_fn, EngineSpec, FnEngine, Host, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let logits = |length: usize| vec![length as f32 % 3.0, 0.5];
//! let test = SourceTest::new([vec![0], vec![1, 0, 1]]);
//!
//! let spec = EngineSpec::new("ab", Host, vocab.clone()).context(64);
//! let engine = FnEngine::new(spec, move |row| Ok(logits(row.tokens.len())));
//! conformance::check_engine(&engine, &test)?;
//!
//! let source = from_fn(Host, vocab, move |tokens| Ok(logits(tokens.len())));
//! conformance::check_source(&source, &test)?;
//! conformance::check_traffic(&source, &test)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod backend;
mod device;
mod engine;
mod extremes;
pub mod faults;
mod joins;
pub mod reference;
mod rows;
mod sessions;
mod source;
mod source_test;
mod texts;
mod traffic;
pub mod traffic_counter;

pub use backend::{WIDTHS, check_backend, check_backend_at};
pub use device::test_device;
pub use engine::check_engine;
pub use faults::{FaultInjector, FaultyBackend};
pub use joins::check_joins;
pub use source::check_source;
pub use source_test::SourceTest;
pub use texts::check_texts;
pub use traffic::check_traffic;
pub use traffic_counter::{Traffic, TrafficCounter, count_traffic};

use crate::Error;
use crate::error::{BoxError, with_sources};

/// A law that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{law}: {details}")]
#[non_exhaustive]
pub struct Failure {
    /// The law, as a sentence that should be true.
    pub law: String,
    /// The input for which it fails, and the result.
    pub details: String,
}

/// The result of every check: nothing, or the first law that does not hold.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Names the law that is broken if an operation fails.
trait Law<T> {
    fn law(self, law: &str) -> Result<T>;
}

impl<T, E: Into<BoxError>> Law<T> for std::result::Result<T, E> {
    fn law(self, law: &str) -> Result<T> {
        self.map_err(|e| Failure { law: law.into(), details: with_sources(&*e.into()) })
    }
}

/// Fails with the law and the details unless `holds`.
fn require(holds: bool, law: &str, details: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(Failure { law: law.into(), details: details() }) }
}

/// Requires that an operation failed, with an error of the expected kind.
fn refuses<T>(result: crate::Result<T>, law: &str, kind: impl Fn(&Error) -> bool) -> Result {
    match result {
        Ok(_) => Err(Failure { law: law.into(), details: "the call was accepted".into() }),
        Err(error) if kind(&error) => Ok(()),
        Err(error) => Err(Failure {
            law: law.into(),
            details: format!("it failed with another kind of error: {error}"),
        }),
    }
}
