//! Combinations of sources: the rules of emulated fine-tuning and its relatives.
//!
//! Everything linear can be written with `+`, `-` and `*` on [`Source`], and the functions here say it by name.
//! All of it lowers to one kernel, `Σ wᵢ·ℓᵢ`: nested sums flatten, terms that are the same model on the same prompt
//! fold into one, and what cancels is not run at all. Rules that are not linear are [`Rule`]s over log-probabilities
//! that were cut to the common range of tokens first.
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
//! let mixed = combine::multi_objective(&large, [(0.7, &helpful, &small), (0.3, &harmless, &small)]);
//! assert_eq!(mixed.to_string(), "large + 0.7·helpful − 0.7·small + 0.3·harmless − 0.3·small");
//! # Ok::<(), eft_core::Error>(())
//! ```
mod amplified;
mod arithmetic;
mod balanced;
mod delta;
mod ensemble;
mod gate;
mod guidance;
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
pub use mixture::mixture;
pub use multi_objective::multi_objective;
pub use nucleus_delta::nucleus_delta;
pub use plausibility::plausibility;
pub use power_mean::power_mean;
pub use realign::realign;
pub use set::{intersection, union};

#[cfg(doc)]
use crate::Source;
use crate::backend::{Backend, ScoreRow};
use crate::{Error, Result};

/// A combination that is no weighted sum: a function of its parts' rows.
///
/// The parts come as rows of log-probabilities over the tokens that all models share, normalised over just those
/// tokens. What comes back is a row for each row of the parts, up to a constant: it is normalised afterwards.
///
/// ```
/// use eft_core::combine::Rule;
/// use eft_core::{from_fn, Backend, Host, Result, ScoreRow, Source, Term, Vocab};
///
/// /// The mean of two models' log-probabilities, sharpened.
/// struct Sharper(f32);
///
/// impl<B: Backend> Rule<B> for Sharper {
///     fn name(&self) -> String {
///         format!("sharper[{}]", self.0)
///     }
///
///     fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
///         let term = |rows: &Vec<_>| Term { weight: self.0 / 2.0, rows: rows.clone() };
///         backend.linear(&parts.iter().map(term).collect::<Vec<_>>(), width)
///     }
/// }
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// let sharper = Source::rule(Sharper(2.0), [model.clone(), model])?;
/// assert_eq!(sharper.name(), "sharper[2](ab, ab)");
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait Rule<B: Backend>: Send + Sync {
    /// Its name, for messages.
    fn name(&self) -> String;

    /// `parts[k][i]` is row `i` of part `k`, in the order the parts were given.
    ///
    /// # Errors
    /// Failures of the backend.
    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor>;
}

/// Weights of a convex combination: finite, none below zero, with a sum of 1 up to rounding.
fn convex(weights: &[f32]) -> Result<()> {
    if weights.is_empty() {
        return Err(Error::shape("terms of a convex combination", "at least one", 0));
    }
    if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(Error::parameter("weight", weight, "a finite number, 0 or above"));
    }
    let sum: f32 = weights.iter().sum();
    if (sum - 1.0).abs() > 1e-3 {
        return Err(Error::parameter("sum of the weights", sum, "1"));
    }
    Ok(())
}
