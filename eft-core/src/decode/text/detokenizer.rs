use std::sync::Arc;

use crate::{TokenId, Vocab};

/// Turns tokens into text, one at a time. Characters are never cut: the bytes of an incomplete character wait for the
/// rest.
///
/// Everything that [`push`](Self::push) and [`finish`](Self::finish) return, joined, is [`Vocab::decode`] of all tokens
/// with invalid UTF-8 replaced as by [`String::from_utf8_lossy`]. Special tokens have no text.
///
/// ```
/// use std::sync::Arc;
/// use eft_core::decode::Detokenizer;
/// use eft_core::Vocab;
///
/// let vocab = Vocab::new("bytes", [&b"caf"[..], b"\xC3", b"\xA9"])?;
/// let mut detokenizer = Detokenizer::new(Arc::new(vocab));
/// assert_eq!([0, 1, 2].map(|id| detokenizer.push(id)), ["caf", "", "é"]);
/// assert_eq!(detokenizer.finish(), "");
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Detokenizer {
    vocab: Arc<Vocab>,
    /// The bytes of an incomplete character.
    begun: Vec<u8>,
}

impl Detokenizer {
    /// Creates a detokenizer at the beginning of a text.
    pub fn new(vocab: Arc<Vocab>) -> Self {
        Self { vocab, begun: Vec::new() }
    }

    /// Appends a token and returns the characters that are now complete.
    pub fn push(&mut self, id: TokenId) -> String {
        self.begun.extend(self.vocab.decode(&[id]));
        let mut text = String::new();
        let mut rest = &self.begun[..];
        loop {
            let Err(error) = std::str::from_utf8(rest) else {
                text.push_str(&String::from_utf8_lossy(rest));
                rest = &[];
                break;
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            rest = after;
            let Some(invalid) = error.error_len() else { break };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[invalid..];
        }
        self.begun = rest.to_vec();
        text
    }

    /// Ends the text. Returns U+FFFD if a character is incomplete.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}
