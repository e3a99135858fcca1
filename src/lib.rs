//! **Emulated fine-tuning**: the behaviour of a fine-tuned large language model without training it, by adding to a
//! large model's logits the difference between the logits of a small tuned model and those of the same small model
//! untuned.
//!
//! This crate is the facade. It re-exports `eft_core`, the algebra of logit sources, and has one module for each tensor
//! library that a feature enables (`candle` by default, `ort`, `tch`), models on servers (`remote`), tokenizers and chat
//! templates (`text`), models by name (`load`; on the Hugging Face hub with the feature `hub`), and texts that follow a
//! grammar (`grammar`). [`formula`] reads combinations as text.
//!
//! ```
//! use eft::{from_fn, Host, Sampling, Vocab};
//!
//! // Any model will do; these are functions of the tokens so far.
//! let vocab = Vocab::new("words", ["yes", "no", "</s>"])?.with_eos([2])?;
//! let model = |name: &str, logits: [f32; 3]| {
//!     from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.to_vec()))
//! };
//! let (large, tuned, untuned) =
//!     (model("large", [1.0, 0.9, 0.0]), model("tuned", [0.0, 0.5, 2.0]), model("untuned", [0.0, 0.0, 0.0]));
//!
//! let upscaled = &large + (&tuned - &untuned);
//! let mut text = upscaled.generate([0], Sampling::greedy())?;
//! assert!(text.next().is_none()); // the tuned model knows when to stop
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! # Errors
//! Each crate has an error type for its failures: `load::Error` for models by name, [`models::Error`] for checkpoints
//! and tokenizers, [`Error`] for everything else. All of them convert into [`Error`], so a function that returns
//! [`Result`] can use `?` on any of them. An error's message does not repeat that of its
//! [`source`](std::error::Error::source): print the whole chain to see both.
//!
//! # Speed
//! Models on the processor are more than 100 times slower without optimisation. Compile with `--release`, or let debug
//! builds optimise their dependencies by adding this to the `Cargo.toml` of your workspace:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod formula;
#[cfg(feature = "grammar")]
pub mod grammar;
#[cfg(feature = "text")]
pub mod load;
#[cfg(feature = "text")]
pub mod text;

#[cfg(feature = "conformance")]
pub use eft_core::conformance;
pub use eft_core::{
    backend, bytes, canonical, check, combine, decode, engine, error, evaluator, host, prompt, sample, score,
    scores, search, session, source, speculate, token_map, vocab,
};
// Each of these names is a module and a function.
pub use eft_core::{bridge, from_fn};

pub use eft_core::{
    Backend, Decoding, Draws, Edit, Engine, EngineRow, EngineSpec, Error, Evaluator, EvaluatorSession, Fault,
    Filter, FnEngine, Form, Host, LogitSource, Message, OpenOptions, Opened, Pick, Pool, Prompt, PromptReads,
    PromptTransform, Relation, Renderer, Result, RowFeed, Rule, Sampler, Sampling, ScoreRow, Scores, Session,
    Source, Term, Token, TokenId, TokenMask, TokensOnly, Vocab, VocabCheck, from_top,
};
pub use eft_models as models;

#[cfg(all(feature = "text", feature = "candle"))]
pub use load::load;
#[cfg(feature = "text")]
pub use load::{Loader, Model};

#[cfg(feature = "candle")]
pub use eft_backend_candle as candle;
#[cfg(feature = "ort")]
pub use eft_backend_ort as ort;
#[cfg(feature = "remote")]
pub use eft_backend_remote as remote;
#[cfg(feature = "tch")]
pub use eft_backend_tch as tch;

/// The README's examples are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
