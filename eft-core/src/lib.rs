//! The algebra of logit sources behind **emulated fine-tuning**: the behaviour of a fine-tuned large language model
//! without training it, by adding to a large model's logits the difference between a small tuned model and the same
//! small model untuned.
//!
//! A fine-tuned large model is approximated by a sum, `large + (tuned − untuned)`. So this crate is an algebra of
//! [`Source`]s: a model is a source, and so is a combination of models. Whatever takes a source (sampling, streaming,
//! scoring, search) takes a combination, too. Scores stay in the memory of the tensor library that made them, behind
//! the [`Backend`] trait; only token ids, random numbers and requested log-probabilities are copied between the device
//! and the host.
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
//! The modules:
//! * [`combine`]: the rules for combining models, by name, and how to add one;
//! * [`decode`] and [`sample`]: generation, its settings, and the statistics reported for each token;
//! * [`speculate`]: speculative decoding: the same greedy texts, or samples from the same distribution, in fewer passes
//!   of the large model;
//! * [`search`]: beam search over chunks of a large model's text, guided by small models;
//! * [`evaluator`]: several expressions over one set of models, for your own decoding loops;
//! * [`score`]: log-probabilities of given texts, and the implicit reward;
//! * [`bytes`]: models with different tokenizers, combined over bytes; [`canonical`]: what that needs to know about a
//!   tokenizer; [`token_map`]: models whose vocabularies have most tokens in common, combined over those;
//! * [`engine`] and [`mod@from_fn`]: wrapping your own model;
//! * [`backend`]: adding a tensor library;
//! * `conformance` (a feature): a test kit for backends, engines and sources.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod backend;
pub mod bridge;
pub mod bytes;
pub mod canonical;
pub mod check;
pub mod combine;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod decode;
mod derived;
pub mod engine;
pub mod error;
pub mod evaluator;
mod fault;
mod forward;
pub mod from_fn;
pub mod host;
#[doc(hidden)]
pub mod instances;
pub mod prompt;
pub mod sample;
pub mod score;
pub mod scores;
pub mod search;
pub mod session;
pub mod source;
pub mod speculate;
pub mod token_map;
pub mod vocab;

pub use backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term, TokenMask};
pub use bridge::bridge;
pub use decode::Decoding;
pub use engine::{Engine, EngineRow, EngineSpec};
pub use error::{Error, Fault, Result};
pub use evaluator::{Evaluator, EvaluatorSession, OpenOptions, PromptReads};
pub use from_fn::{FnEngine, from_fn, from_top};
pub use host::Host;
pub use prompt::{Message, Prompt, PromptTransform, Renderer, TokensOnly};
pub use sample::{Sampler, Sampling, Token};
pub use scores::{Form, Scores};
pub use session::{Draws, LogitSource, Opened, RowFeed, Session};
pub use source::{Rule, Source, VocabCheck};
pub use vocab::{Relation, Vocab};

/// The id of a token: its index in the vocabulary, and the column of its score in a score row.
pub type TokenId = u32;
