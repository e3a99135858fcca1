//! The algebra of logit sources behind **emulated fine-tuning**: the behaviour of a fine-tuned large language model
//! without training it, by adding to a large model's logits the difference between a small tuned model and the same
//! small model untuned.
//!
//! A fine-tuned large model is a sum, `large + (tuned − untuned)`, so this crate is an algebra of [`Source`]s: each
//! model, and each combination of models, is one. Whatever takes a source (sampling, streaming, scoring, search)
//! takes a combination, too. Scores stay in the memory of the tensor library that made them, behind the [`Backend`]
//! trait; token ids, uniforms and requested log-probabilities are all that crosses to the host.
//!
//! ```
//! use eft_core::{from_fn, Host, Sampling, Source, Vocab};
//!
//! # fn load(name: &str, bias: f32) -> eft_core::Result<Source<Host>> {
//! #     let vocab = Vocab::new(name, ["How", "do", "magnets", "work", "?", "</s>"])?.with_eos([5])?;
//! #     Ok(from_fn(Host, vocab, move |tokens| {
//! #         let next = (tokens[tokens.len() - 1] as usize + 1).min(5);
//! #         Ok((0..6).map(|id| if id == next { bias } else { 0.0 }).collect())
//! #     }))
//! # }
//! let (large, small, tuned) = (load("large", 1.0)?, load("small", 1.0)?, load("tuned", 2.0)?);
//! let upscaled = &large + (&tuned - &small);
//! for token in upscaled.generate([0], Sampling::default().top_p(0.9).seed(7))? {
//!     print!("{} ", token?.id);
//! }
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! Where to go on:
//! * [`combine`]: the rules, by name, and how to add one;
//! * [`decode`] and [`sample`]: generation, its settings, and what is told of each token;
//! * [`speculate`]: the same texts in fewer passes, drafted by a cheap model;
//! * [`search`]: a large model's texts, steered by small ones;
//! * [`evaluator`]: several expressions over one set of models, for decoding loops of one's own;
//! * [`score`]: log-probabilities of given texts, and the implicit reward;
//! * [`engine`] and [`mod@from_fn`]: wrapping a model of one's own;
//! * [`backend`]: bringing in another tensor library;
//! * `conformance` (feature): the laws that all of these obey, as a test kit.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod backend;
pub mod bridge;
pub mod check;
pub mod combine;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod decode;
pub mod engine;
pub mod error;
pub mod evaluator;
mod fault;
mod forward;
pub mod from_fn;
pub mod host;
pub mod prompt;
pub mod sample;
pub mod score;
pub mod scores;
pub mod search;
pub mod session;
pub mod source;
pub mod speculate;
pub mod vocab;

pub use backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term, TokenMask};
pub use bridge::bridge;
pub use decode::Decoding;
pub use engine::{Engine, EngineRow, EngineSpec};
pub use error::{Error, Fault, Result};
pub use evaluator::{Evaluator, EvaluatorSession, OpenOptions};
pub use from_fn::{FnEngine, from_fn, from_top};
pub use host::Host;
pub use prompt::{Message, Prompt, PromptTransform, Renderer, TokensOnly};
pub use sample::{Sampler, Sampling, Token};
pub use scores::{Form, Scores};
pub use session::{LogitSource, Opened, RowFeed, Session};
pub use source::{Rule, Source, VocabCheck};
pub use vocab::{Relation, Vocab};

/// The id of a token: an index into the rows of its vocabulary.
pub type TokenId = u32;
