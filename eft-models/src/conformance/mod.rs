//! A test kit for implementations of [`Nn`](crate::Nn), in addition to that of [`eft_core::conformance`] for backends
//! and sources.
//!
//! The tiny random checkpoints of `goldens/` are compared with the results of transformers and PEFT: logits at every
//! position, and greedy texts. Products with larger weights are compared with sums in double precision. Caches of layers
//! with sliding windows must not grow with the text, and rows may take tokens from each other's. Sessions must obey
//! the laws of engines and of sources, also when an operation fails; speculative decoding must give the texts of plain
//! decoding; and searches must sample and score as the models do. [`ReferenceNn`] is an implementation in plain loops, and
//! [`FaultyNn`] makes any implementation fail.
//!
//! ```no_run
//! use eft_models::{Nn, conformance};
//!
//! fn check<N: Nn>(library: &N) -> Result<(), Box<dyn std::error::Error>> {
//!     println!("{:?}", conformance::check_families(library)?);
//!     println!("{:?}", conformance::check_adapters(library)?);
//!     println!("{}", conformance::check_products(library, 1e-6)?);
//!     conformance::check_windows(library)?;
//!     conformance::check_sharing(library)?;
//!     conformance::check_failures(library)?;
//!     conformance::check_methods(library)
//! }
//! ```
mod activations;
mod adapters;
mod failures;
mod families;
mod faults;
mod goldens;
mod methods;
mod products;
mod reference;
mod sharing;
mod windows;

pub use adapters::check_adapters;
pub use failures::check_failures;
pub use families::check_families;
pub use faults::FaultyNn;
pub use goldens::{Difference, FAMILIES, Golden};
pub use methods::check_methods;
pub use products::check_products;
pub use reference::{ReferenceCache, ReferenceLinear, ReferenceNn};
pub use sharing::check_sharing;
pub use windows::check_windows;

use std::error::Error;

/// The result of a check: the measurement, or an error that describes the fault.
pub type Verdict<T> = Result<T, Box<dyn Error>>;

/// How far a logit may be from the reference at most.
pub const TOLERANCE: f32 = 1e-4;

/// An error with the message that `otherwise` makes, unless `holds`.
fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
