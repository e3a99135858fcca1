//! Text for models: tokenizers, chat templates, and the renderer that makes token ids of a model's prompts.
//!
//! [`load`](mod@crate::load) attaches all of them to a source. To use them alone:
//!
//! ```
//! use eft::text::{PlainTemplate, TextRenderer, Tokenizer};
//! use eft::{Prompt, Renderer};
//!
//! let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
//! let renderer = TextRenderer::new(tokenizer).plain(PlainTemplate::default());
//!
//! let text = renderer.render("base", &"user: Hi!\nassistant:".into())?;
//! assert_eq!(renderer.render("base", &Prompt::chat("Hi!"))?, text);
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! The opposite direction, from generated tokens to text, is [`Generation::text`](crate::decode::Generation::text),
//! which works for every combination of models.
//!
//! Special tokens that are spelled out in a prompt's text or in a message become special tokens, as in transformers.
//! For messages by people who must not be able to write them, see [`TextRenderer::literal_messages`].
mod canonical;
pub(crate) mod config;
mod fault;
mod guarded;
mod jinja;
mod literal;
mod patterns;

pub mod chat;
#[cfg(feature = "candle")]
pub mod gguf;
pub mod plain;
pub mod renderer;
pub mod tokenizer;

pub use chat::ChatTemplate;
pub use plain::PlainTemplate;
pub use renderer::TextRenderer;
pub use tokenizer::Tokenizer;
