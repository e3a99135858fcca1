//! From scores to tokens: combined scores → processors → temperature → top-k → top-p → min-p → draw.
//!
//! The temperature is applied after combining, which for a weighted sum is the same as applying it to every term. The
//! filters only ever see the combined distribution: a filtered term holds −∞, and −∞ minus −∞ is not a number.
//!
//! ```
//! use eft_core::sample::RepetitionPenalty;
//! use eft_core::{from_fn, Decoding, Host, Sampler, Sampling, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! let model = from_fn(Host, vocab, |_| Ok(vec![1.0, 2.0, 1.9]));
//! let decoding = Decoding::from(Sampling::greedy()).processor(RepetitionPenalty::new(1.5)?);
//! let mut sampler = Sampler::new(model.backend().clone(), &decoding, 1)?;
//!
//! let (_session, scores) = model.session(&[vec![0].into()])?;
//! assert_eq!(sampler.sample(&scores)?[0].id, 1);
//! assert_eq!(sampler.sample(&scores)?[0].id, 2); // 2.0 / 1.5 < 1.9
//! # Ok::<(), eft_core::Error>(())
//! ```
mod allowed;
mod bias;
mod decoding;
mod penalties;
mod processor;
mod sampler;
mod sampling;
pub(crate) mod scored_position;
mod token;
mod uniform;

pub use allowed::AllowedTokens;
pub use bias::LogitBias;
pub use decoding::Decoding;
pub(crate) use decoding::check_sequences;
pub use penalties::{FrequencyPenalty, PresencePenalty, RepetitionPenalty};
pub use processor::{History, Processor};
pub use sampler::Sampler;
pub use sampling::Sampling;
pub use token::{Attribution, TermShare, Token};
pub use uniform::{Purpose, RowId, Uniforms};
