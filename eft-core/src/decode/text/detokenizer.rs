use std::sync::Arc;

use crate::{TokenId, Vocab};

/// Makes text of tokens, one at a time. Characters are never cut: bytes wait for the rest of theirs.
///
/// All that [`push`](Self::push) and [`finish`](Self::finish) return, one after another, is what
/// [`String::from_utf8_lossy`] makes of [`Vocab::decode`] of all tokens. Special tokens stand for no text.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    vocab: Arc<Vocab>,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Detokenizer {
    /// At the beginning of a text.
    pub fn new(vocab: Arc<Vocab>) -> Self {
        Self { vocab, begun: Vec::new() }
    }

    /// Takes in a token. Returns the characters that are whole now.
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

    /// Ends the text. Returns U+FFFD if that cuts a character.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}
