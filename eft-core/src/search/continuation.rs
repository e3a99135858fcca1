use crate::decode::FinishReason;
use crate::{TokenId, Vocab};

/// The text that follows the prompt: complete, or as far as it has been generated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Continuation {
    /// The tokens, including those that ended the text. Empty if the base is a black box that returns only text.
    pub tokens: Vec<TokenId>,
    /// The number of tokens at the end that are not text but ended it: an end-of-sequence token or a stop sequence.
    pub tail: usize,
    /// The text without those tokens, as bytes, since a chunk may end within a character. Empty if the vocabulary does
    /// not know the text of its tokens.
    pub text: Vec<u8>,
    /// Why the text ended. `None` while it can be extended, or if the search ended first.
    pub end: Option<FinishReason>,
}

impl Continuation {
    /// Returns the tokens without those that ended the text.
    pub fn body(&self) -> &[TokenId] {
        &self.tokens[..self.tokens.len() - self.tail.min(self.tokens.len())]
    }

    /// Returns the text, with the replacement character U+FFFD for bytes that are not UTF-8.
    ///
    /// ```
    /// use eft_core::search::Continuation;
    ///
    /// let mut continuation = Continuation::default();
    /// continuation.text = b"caf\xc3".to_vec(); // ends within the letter é
    /// assert_eq!(continuation.to_text(), "caf\u{fffd}");
    /// ```
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Appends a chunk.
    pub(super) fn extend(&mut self, chunk: Chunk, vocab: Option<&Vocab>) {
        self.tokens.extend(chunk.tokens);
        (self.tail, self.end) = (chunk.tail, chunk.end);
        match vocab {
            Some(vocab) => self.text = vocab.decode(self.body()),
            None => self.text.extend(chunk.text),
        }
    }
}

/// The tokens or the text by which a [`ProposerSession`](super::ProposerSession) has extended one row.
///
/// ```
/// use eft_core::search::Chunk;
///
/// let chunk = Chunk { text: b" and so on".to_vec(), drawn: 3, ..Chunk::default() };
/// assert!(chunk.end.is_none()); // the text can be extended further
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The tokens, including those that ended the text.
    pub tokens: Vec<TokenId>,
    /// The text, of a base that returns no tokens.
    pub text: Vec<u8>,
    /// The number of tokens that were sampled: they count towards the budget of the search.
    pub drawn: usize,
    /// The number of tokens at the end of the whole text that are not text but ended it.
    pub tail: usize,
    /// Why the text ended, if it did.
    pub end: Option<FinishReason>,
}

/// A continuation and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The text.
    pub continuation: Continuation,
    /// The guide's score: higher is better. The empty text, before anything was scored, has the score 0.
    pub score: f64,
}

/// The result of a search.
///
/// The documentation of [`search`](super) shows how to get one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchResult {
    /// The texts in the beam at the end, and all texts that ended, best first. Never empty.
    pub candidates: Vec<Candidate>,
    /// The number of tokens that were sampled from the base, over all rows.
    pub drawn: usize,
    /// The number of rounds: by how many chunks the longest text was extended.
    pub rounds: usize,
}

impl SearchResult {
    /// Returns the candidate with the highest score.
    pub fn best(&self) -> &Candidate {
        &self.candidates[0]
    }
}
