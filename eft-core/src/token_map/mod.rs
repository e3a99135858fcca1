//! Models over the vocabulary of another model: [`Source::over_vocab`](crate::Source::over_vocab).
//!
//! Models with different tokenizers are combined exactly over [`bytes`](crate::bytes). Where two vocabularies have most
//! tokens in common, as those of a model and its successor, there is a cheaper way that loses something: tokens that stand
//! for the same bytes are the same token, whatever their ids, and the others are left out. It costs nothing but a copy of
//! the score rows through the host.
//!
//! # What is lost
//! * A token that only one of the vocabularies has is unknown to the other: a sum of both excludes it. Each step reports
//!   the probability that the mapped model gives to the tokens that are left, as
//!   [`Token::known_mass`](crate::Token::known_mass).
//! * The mapped model reads the tokens that the other tokenizer makes of a text, which its own tokenizer may never make.
//!   Its probabilities of them are lower than those of the text in its own tokens, and nothing reports by how much.
//!
//! Prompts of text and conversations are rendered by the mapped model's own tokenizer and template.
//!
//! ```
//! use eft_core::{Host, Sampling, Vocab, from_fn};
//!
//! let successor = from_fn(Host, Vocab::new("new", ["c", "b", "a"])?, |_| Ok(vec![0.1f32.ln(), 0.3f32.ln(), 0.6f32.ln()]));
//! let pair = from_fn(Host, Vocab::new("old", ["a", "b"])?, |_| Ok(vec![0.0, 2.0]));
//!
//! let mapped = successor.over_vocab(pair.vocab())?;
//! let token = (mapped + pair).generate([0], Sampling::greedy())?.next().unwrap()?;
//! assert_eq!(token.id, 1);
//! // The token "c" is lost.
//! assert!((token.known_mass.unwrap() - 0.9).abs() < 1e-6);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod map;
mod source;

pub use map::TokenMap;
