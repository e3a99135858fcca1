use crate::decode::FinishReason;
use crate::{TokenId, Vocab};

/// What was written behind the prompt, so far or to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Continuation {
    /// The tokens, with those that ended the text; none where a black box tells text only.
    pub tokens: Vec<TokenId>,
    /// How many tokens at the end only ended it: an end-of-sequence token, or a stop sequence.
    pub tail: usize,
    /// The text without them, as bytes: a chunk may end within a character. Empty where the vocabulary does not tell
    /// what its tokens stand for.
    pub text: Vec<u8>,
    /// How it ended; `None` while it goes on, and where the search ended first.
    pub end: Option<FinishReason>,
}

impl Continuation {
    /// The tokens that are text: without those that ended it.
    pub fn body(&self) -> &[TokenId] {
        &self.tokens[..self.tokens.len() - self.tail.min(self.tokens.len())]
    }

    /// The text, with a replacement for what is no UTF-8.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Goes on with another piece.
    pub(super) fn extend(&mut self, piece: Piece, vocab: Option<&Vocab>) {
        self.tokens.extend(piece.tokens);
        (self.tail, self.end) = (piece.tail, piece.end);
        match vocab {
            Some(vocab) => self.text = vocab.decode(self.body()),
            None => self.text.extend(piece.text),
        }
    }
}

/// What one row got in one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// The tokens, with those that ended the text.
    pub tokens: Vec<TokenId>,
    /// The text, of a black box that tells no tokens.
    pub text: Vec<u8>,
    /// How many tokens were drawn, for the budget.
    pub drawn: usize,
    /// How many of the text's last tokens only ended it.
    pub tail: usize,
    /// How the text ended, if it did.
    pub end: Option<FinishReason>,
}

/// A continuation and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What was written.
    pub continuation: Continuation,
    /// What the guide says of it: higher is better.
    pub score: f64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Everything that was kept to the end, and every text that ended, best first: never empty.
    pub candidates: Vec<Candidate>,
    /// Tokens drawn from the base, over all rows.
    pub drawn: usize,
    /// Chunks that were written.
    pub rounds: usize,
}

impl Found {
    /// The candidate with the highest score.
    pub fn best(&self) -> &Candidate {
        &self.candidates[0]
    }
}
