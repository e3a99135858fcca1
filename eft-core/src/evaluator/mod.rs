//! [`Evaluator`]: several expressions over one set of sessions, evaluated lazily.
//!
//! A [`Session`](crate::Session) of a combination hides its terms, but speculation, search and attribution need them:
//! the draft of a speculative decoder is a term of its target, and the guide of a search scores what the base model has
//! proposed. An evaluator holds one session for each engine. It evaluates any of its *roots* (the combinations it was
//! opened with) at any positions, and runs only the models that lack scores there. Generation, scoring and attribution
//! are built on it, and your own decoding loops can be.
//!
//! Position `p` of a row is the distribution of the token that follows the prompt and `p` more tokens.
//!
//! ```
//! use eft_core::{from_fn, Backend, Host, Evaluator, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let model = |name: &str, logits: [f32; 2]| {
//!     from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).named(name)
//! };
//! let (base, tuned, untuned) = (model("base", [1.0, 0.0]), model("tuned", [0.0, 3.0]), model("untuned", [0.0, 1.0]));
//! let target = &base + (&tuned - &untuned);
//!
//! // The tuned model drafts two tokens …
//! let mut evaluator = Evaluator::open(&[&target, &tuned], &[vec![0].into()])?;
//! for _ in 0..2 {
//!     let scores = evaluator.eval_last(1)?;
//!     let pick = Host.argmax(&scores.last()?, scores.width())?[0];
//!     evaluator.push(&[vec![pick.token]])?;
//! }
//! // … and the target scores the three positions in one pass of each of its other terms.
//! let scores = evaluator.eval_from(0, &[0])?;
//! assert_eq!(scores.positions(0).len(), 3);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod compute;
mod diagnose;
mod edit;
mod eval;
mod expr;
mod grow;
mod join;
mod model;
mod open;
mod options;
mod park;
mod parked;
mod parts;
mod plan;
mod prefix;
mod reads;
mod reopen;
mod run;
mod session;
mod state;
mod store;
mod terms;
mod threads;

pub use options::OpenOptions;
pub(crate) use parts::Parts;
pub(crate) use plan::Leaves;
pub use reads::PromptReads;
pub use session::EvaluatorSession;
pub use state::Evaluator;
pub use terms::TermLogProbs;
