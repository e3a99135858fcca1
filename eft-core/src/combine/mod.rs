//! Combinations of sources: the rules of emulated fine-tuning and its relatives.
//!
//! Weighted sums can be written with `+`, `-`, `*` and `/` on a [`Source`](crate::Source), or by the functions here.
//! All of them are computed by one kernel, `Σ wᵢ·ℓᵢ`: nested sums are flattened, the weights of terms that are the same
//! model on the same prompt are added, and terms whose weights cancel are not run. Combinations that are not weighted
//! sums are [`Rule`]s of log-probabilities, which are restricted to the tokens that all models share and normalised
//! over them first.
//!
//! The functions refuse a number that is not finite or out of range when they are called. An operator cannot fail, so
//! the weights of a sum written with operators are checked by [`Source::check`](crate::Source::check) and when the sum
//! is opened.
//!
//! ```
//! use eft_core::{combine, from_fn, Host, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! let model = |name: &str, logits: [f32; 3]| {
//!     from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).named(name)
//! };
//! let (large, small) = (model("large", [3.0, 2.0, 1.0]), model("small", [1.0, 1.0, 1.0]));
//! let (helpful, harmless) = (model("helpful", [1.0, 2.0, 1.0]), model("harmless", [1.0, 1.0, 2.0]));
//!
//! let mixed = combine::multi_objective(&large, [(0.7, &helpful, &small), (0.3, &harmless, &small)])?;
//! assert_eq!(mixed.to_string(), "large + 0.7·helpful − 0.7·small + 0.3·harmless − 0.3·small");
//! # Ok::<(), eft_core::Error>(())
//! ```
mod amplified;
mod arithmetic;
mod balanced;
mod checks;
mod delta;
mod ensemble;
mod gate;
mod guidance;
mod learned;
mod mixture;
mod multi_objective;
mod nucleus_delta;
mod operators;
mod plausibility;
mod power_mean;
mod realign;
mod set;

pub use amplified::amplified_delta;
pub use arithmetic::arithmetic;
pub use balanced::balanced_delta;
pub use delta::delta;
pub use ensemble::{product_of_experts, weighted};
pub use gate::gate;
pub use guidance::guidance;
pub use learned::{Layer, MixtureFeatures, MixtureWeights, learned_mixture};
pub use mixture::mixture;
pub use multi_objective::multi_objective;
pub use nucleus_delta::nucleus_delta;
pub use plausibility::plausibility;
pub use power_mean::power_mean;
pub use realign::realign;
pub use set::{intersection, union};

pub use crate::source::Rule;
