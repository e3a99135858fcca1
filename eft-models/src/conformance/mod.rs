//! What every tensor library must give for the families of this crate: a test kit for implementations of [`Nn`], beside
//! that of `eft_core::conformance` for backends and sources.
//!
//! The tiny random checkpoints of `goldens/` are compared with what transformers and PEFT gave for them: logits of every
//! position, greedy texts. Products of larger weights are compared with sums in double precision. Sessions obey the laws
//! of sources; drafted texts are plain ones; searches sample and score as models do.
//!
//! ```no_run
//! use eft_models::{Nn, conformance};
//!
//! fn check<N: Nn>(library: &N) -> Result<(), Box<dyn std::error::Error>> {
//!     println!("{:?}", conformance::check_families(library)?);
//!     println!("{:?}", conformance::check_adapters(library)?);
//!     println!("{}", conformance::check_products(library, 1e-6)?);
//!     conformance::check_methods(library)
//! }
//! ```
mod adapters;
mod families;
mod goldens;
mod methods;
mod products;

pub use adapters::check_adapters;
pub use families::check_families;
pub use goldens::{Difference, FAMILIES, Golden};
pub use methods::check_methods;
pub use products::check_products;

use std::error::Error;

/// What a check returns: what it found, or what is not as it must be.
pub type Verdict<T> = Result<T, Box<dyn Error>>;

/// No logit may be further off.
pub const TOLERANCE: f32 = 2e-3;

/// `holds`, or else an error.
fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
