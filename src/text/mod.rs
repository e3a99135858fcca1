//! Text for models: tokenizers, chat templates, and the renderer that makes a model's token ids of any prompt.
//!
//! [`load`](mod@crate::load) attaches all of it to a source. By itself:
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
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Text comes back from tokens by [`Generation::text`](crate::decode::Generation::text), of any combination.
mod jinja;

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
