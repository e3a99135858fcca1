//! From scores to tokens: combined scores → processors → temperature → top-k → top-p → min-p → draw.
//!
//! Temperature comes after combining, where it is the same as that temperature on every term; filters only ever run
//! on the combined row, since a truncated term minus a truncated term is not a number.
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
mod penalties;
mod processor;
mod sampler;
mod sampling;
pub(crate) mod spot;
mod uniform;

pub use allowed::AllowedTokens;
pub use bias::LogitBias;
pub use penalties::{FrequencyPenalty, PresencePenalty, RepetitionPenalty};
pub use processor::{History, Processor};
pub use sampler::{Sampler, Token};
pub use sampling::Sampling;
pub use uniform::{Purpose, Uniforms};
