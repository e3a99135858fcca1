//! Text as it is generated: pieces of whole characters, cut before the first stop string.
//!
//! ```
//! use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
//!
//! // The second and the third token are the halves of one character.
//! let vocab = Vocab::new("bytes", [&b"caf"[..], b"\xC3", b"\xA9", b"s.", b" Tea"])?;
//! let model = from_fn(Host, vocab, |tokens| {
//!     Ok((0..5).map(|id| if id == tokens.len() - 1 { 5.0 } else { 0.0 }).collect())
//! });
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(5);
//!
//! let pieces = model.generate([0], decoding.clone())?.text()?;
//! let pieces: Vec<_> = pieces.map(|piece| Ok(piece?.text)).collect::<eft_core::Result<_>>()?;
//! assert_eq!(pieces, ["caf", "é", "s.", " Tea"]);
//!
//! let sentence = model.generate([0], decoding)?.text()?.until(". T")?;
//! assert_eq!(sentence.collect::<eft_core::Result<String>>()?, "cafés");
//! # Ok::<(), eft_core::Error>(())
//! ```
mod batch;
mod detokenizer;
mod one;
mod pieces;

pub(crate) use batch::RowText;
pub use batch::{TextBatch, TextEvent};
pub use detokenizer::Detokenizer;
pub use one::Text;
pub use pieces::Piece;
