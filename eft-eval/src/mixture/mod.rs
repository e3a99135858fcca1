//! Learned mixtures: weights that depend, token by token, on how sure each source is. Ormazabal et al. 2023 (CombLM),
//! arXiv 2305.16876.
//!
//! [`Observations`] hold what the sources say about the tokens of some texts, about 100 of them. [`Fit`] finds the weights
//! that make these texts likeliest: constant weights, a logistic regression, or a small multilayer perceptron.
//! [`learned_mixture`](eft_core::combine::learned_mixture) makes a source of them, on any backend; [`save`] and [`load`]
//! keep them in a file.
//!
//! ```
//! use eft_core::combine::{self, MixtureFeatures};
//! use eft_core::{Host, Vocab, from_fn};
//! use eft_eval::mixture::{Fit, Observations};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! // After "a" the first model is sure and right, after "b" the second one is.
//! let model = |name: &str, knows: u32| {
//!     let logits = move |tokens: &[u32]| Ok(if tokens.last() == Some(&knows) { vec![3.0, 0.0] } else { vec![0.0, 0.3] });
//!     from_fn(Host, vocab.clone().named(name), logits)
//! };
//! let sources = [model("first", 0), model("second", 1)];
//! let texts = [([0], vec![0, 0]), ([1], vec![0]), ([0], vec![0]), ([1], vec![0, 0])];
//!
//! let seen = Observations::of(&sources, MixtureFeatures::entropies(), texts)?;
//! let constant = Fit::constant().fit(&seen)?;
//! let learned = Fit::logistic().fit(&seen)?;
//! assert!(seen.perplexity(&learned)? < 0.8 * seen.perplexity(&constant)?);
//!
//! let mixed = combine::learned_mixture(learned, &sources)?;
//! assert!(mixed.score([1], &[0])?.total > 0.9f64.ln());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod error;
mod file;
mod fit;
mod minimise;
mod network;
mod observations;

pub use error::{Error, Result};
pub use file::{load, save};
pub use fit::Fit;
pub use observations::{Observations, ObservedToken};
