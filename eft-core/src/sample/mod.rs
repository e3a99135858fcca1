//! From scores to tokens: combined scores → processors → temperature → top-k → top-p → min-p → truncations → draw.
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
mod bad_words;
mod bias;
mod decoding;
mod dry;
mod dynamic_temperature;
mod forbid_first;
mod forbidden_sequences;
mod groups;
mod min_new_tokens;
mod mirostat;
mod no_repeat_ngram;
mod penalties;
mod prepare;
mod prepared;
mod processor;
mod row;
mod sampler;
mod sampling;
pub(crate) mod scored_position;
mod token;
mod top_a;
mod top_n_sigma;
mod truncation;
mod typical;
mod uniform;
mod xtc;

pub use allowed::AllowedTokens;
pub use bad_words::BadWords;
pub use bias::LogitBias;
pub use decoding::Decoding;
pub(crate) use decoding::check_sequences;
pub use dry::Dry;
pub use dynamic_temperature::DynamicTemperature;
pub use forbid_first::ForbidFirst;
pub use forbidden_sequences::ForbiddenSequences;
pub use min_new_tokens::MinNewTokens;
pub use mirostat::Mirostat;
pub use no_repeat_ngram::NoRepeatNgram;
pub use penalties::{FrequencyPenalty, PresencePenalty, RepetitionPenalty};
pub(crate) use prepared::Prepared;
pub use processor::{History, Processor};
pub(crate) use row::{RowSampling, RowStart};
pub use sampler::Sampler;
pub use sampling::Sampling;
pub use token::{Attribution, TermShare, Token};
pub use top_a::TopA;
pub use top_n_sigma::TopNSigma;
pub use truncation::{Cut, Truncation};
pub use typical::Typical;
pub use uniform::{Purpose, RowId, Uniforms};
pub use xtc::Xtc;

use crate::TokenId;
use crate::backend::Edit;

/// The edits that exclude these tokens: none if there are none.
fn forbid(tokens: impl IntoIterator<Item = TokenId>) -> Vec<Edit> {
    let biases: Vec<_> = tokens.into_iter().map(|token| (token, f32::NEG_INFINITY)).collect();
    if biases.is_empty() { Vec::new() } else { vec![Edit::Bias(biases)] }
}
