//! Models of tokens as models of bytes: [`Source::bytes`](crate::Source::bytes).
//!
//! Score rows of models with different tokenizers cannot be added. Every model of tokens is also a model of bytes, and
//! those can. A source over bytes has 257 tokens: the 256 bytes, and [`END`], which ends a text and stands for all
//! end-of-sequence tokens of the model. It has the same distribution over texts as the model, and is a source like any
//! other: for combinations, rules, sampling, speculation, search and scores. A prompt is text or a conversation, which each
//! term renders with its own tokenizer and template.
//!
//! # The distribution
//! Let `q(t | t₁…tₖ)` be the model's distribution of the next token, cut to the tokens after which the sequence is, or can
//! still become, one that the tokenizer makes of some text ([`Canonical`](crate::canonical::Canonical)), and normalised
//! again. The probability that a text begins with the bytes `s` is the sum of `q(t₁)·q(t₂ | t₁)⋯` over the token sequences
//! that *cover* `s`: those whose bytes begin with `s`, and only whose last token reaches past its end. The probability of
//! the next byte is a ratio of two such sums. So a text and its end have, byte by byte, exactly the probability of the
//! text's tokens under `q`. There is no more than a rounding error between the two, and no other approximation unless
//! [pruning](ByteSettings::prune) or [all sequences](#all-sequences) are asked for.
//!
//! All covers of `s` have the same tokens but for the last few, since a canonical sequence is determined by its text.
//! Where they differ, they are rows of one session.
//!
//! # Prompts
//! A prompt that ends within a word continues as its text would: the tokens at its end are not fixed, but summed over like
//! those of the text after it. Only the first token of a prompt is kept as the tokenizer makes it if no special token comes
//! before it, since a model has no distribution for the first token of all.
//!
//! A prompt of token ids is bytes and [`END`].
//!
//! # All sequences
//! Of many tokenizers it is not known here which sequences they make. [`ByteSettings::covering`] makes sources of them, too,
//! with another distribution: of `q`, only special tokens are left out, and the sums are over *all* token sequences that cover
//! a text, also those that the tokenizer never writes (the covering of [2412.03719](https://arxiv.org/abs/2412.03719); see also
//! [2410.09303](https://arxiv.org/abs/2410.09303)). That is the model's own distribution over texts: what sampling tokens
//! gives, without any mask. Models of canonical sequences give little probability to others, but for a text of many tokens it
//! adds up.
//!
//! Such sequences may differ from their first token on, and every token of a text has alternatives. So there are exponentially
//! many, and improbable ones are dropped. The bytes after a text keep a probability each, by at least one sequence for each
//! place where its last token may begin. It is at most what all sequences would give, before normalisation.
//!
//! The tokens of a prompt are those that its tokenizer writes, as if tokens were generated. What is summed over is the end of
//! the prompt, from the first token on from which a single longer token could reach past the end, and everything after the
//! prompt. The space that SentencePiece puts before a text is a byte of the prompt's first token; after a prompt of no text, it
//! is the first byte that the model writes, as it is when tokens are generated.
//!
//! The model runs before each byte, also where no scores are asked for.
//!
//! # Context
//! Each byte may be a token of the model, so a row has room for as many bytes as the model has for tokens. That is a lower
//! bound: as bytes turn out to be parts of longer tokens, there is room for more. Feed very long texts in parts.
//!
//! # Cost
//! A model must run wherever a token ends, and a word is also the beginning of longer ones. So exact rows take several
//! positions for each token of the text: for "therefore" also those after "the" and "there". With
//! [`prune`](ByteSettings::prune), the model does not run where a token is so improbable that it hardly matters.
//!
//! ```
//! use eft_core::bytes::{self, ByteSettings};
//! use eft_core::canonical::{AnyTokens, Canonical};
//! use eft_core::{from_fn, Host, Prompt, Renderer, Result, Sampling, TokenId, Vocab};
//! use std::sync::Arc;
//!
//! /// A tokenizer that is not known well enough to say which sequences it makes.
//! struct Whole(Arc<Vocab>);
//!
//! impl Renderer for Whole {
//!     fn render(&self, _: &str, _: &Prompt) -> Result<Vec<TokenId>> {
//!         Ok(vec![3]) // the beginning of a text
//!     }
//!
//!     fn canonical(&self, _: &str) -> Result<Arc<dyn Canonical>> {
//!         Ok(Arc::new(AnyTokens::new(self.0.clone())))
//!     }
//! }
//!
//! let vocab = Arc::new(Vocab::new("v", ["a", "b", "ab", "</s>"])?.with_eos([3])?);
//! let logits = [0.3f32, 0.2, 0.4, 0.1].map(f32::ln);
//! let model = from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).rendered_by(Whole(vocab))?;
//!
//! let model = model.bytes()?;
//! // An "a" begins "a" and "ab".
//! let first = model.score("", &[u32::from(b'a')])?;
//! assert!((first.total.exp() - 0.7).abs() < 1e-6);
//! // "ab" is one token, or two.
//! let both = model.score("", &bytes::tokens("ab"))?;
//! assert!((both.total.exp() - (0.4 + 0.3 * 0.2)).abs() < 1e-6);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod ahead;
mod covering;
mod lanes;
mod lexicon;
mod node;
mod position;
mod session;
mod settings;
mod shared;
mod source;
mod walk;

pub use settings::{ByteSettings, Work};

use crate::{TokenId, Vocab};

/// The id of the token that ends a text, in the vocabulary of a source over bytes. Smaller ids are bytes.
pub const END: TokenId = 256;

/// Returns a text as tokens of a source over bytes.
///
/// ```
/// assert_eq!(eft_core::bytes::tokens("né"), [110, 195, 169]);
/// ```
#[must_use]
pub fn tokens(text: &str) -> Vec<TokenId> {
    text.bytes().map(TokenId::from).collect()
}

/// Whether a vocabulary is that of a source over bytes.
pub(crate) fn is_of_bytes(vocab: &Vocab) -> bool {
    vocab.is_special(END)
        && (0..END).all(|id| matches!(vocab.bytes(id), Some([byte]) if TokenId::from(*byte) == id))
}
