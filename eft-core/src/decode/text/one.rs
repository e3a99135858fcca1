use std::sync::Arc;

use super::Piece;
use super::pieces::{Pieces, check};
use crate::backend::Backend;
use crate::decode::{Finished, Generation};
use crate::sample::Token;
use crate::{Result, Vocab};

/// One text, piece by piece: an iterator over any iterator of tokens.
///
/// A text ends where its tokens do, or at a stop string. Nothing is asked of the tokens' iterator after that.
#[derive(Debug)]
pub struct Text<I> {
    tokens: I,
    vocab: Arc<Vocab>,
    pieces: Pieces,
    stops: Vec<String>,
    begun: bool,
    finished: Option<Finished>,
}

impl<I: Iterator<Item = Result<Token>>> Text<I> {
    /// The text of tokens of a vocabulary.
    ///
    /// What is wrong with the vocabulary or a stop string is the iterator's first item.
    pub fn new(tokens: I, vocab: Arc<Vocab>) -> Self {
        let pieces = Pieces::new(vocab.clone());
        Self { tokens, vocab, pieces, stops: Vec::new(), begun: false, finished: None }
    }

    /// Ends the text before this string, too, wherever tokens begin and end.
    pub fn until(mut self, stop: impl Into<String>) -> Self {
        self.stops.push(stop.into());
        self
    }

    /// The tokens' iterator, to go on with.
    pub fn into_inner(self) -> I {
        self.tokens
    }
}

impl<B: Backend> Text<Generation<B>> {
    /// How the text ended; `None` while it has not.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref().or(self.tokens.finished())
    }
}

impl<I: Iterator<Item = Result<Token>>> Iterator for Text<I> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.begun, true)
            && let Err(error) = check(&self.vocab, &self.stops)
        {
            self.pieces.ended = true;
            return Some(Err(error));
        }
        while !self.pieces.ended {
            let token = match self.tokens.next() {
                Some(Ok(token)) => token,
                Some(Err(error)) => {
                    self.pieces.ended = true;
                    return Some(Err(error));
                }
                None => {
                    let (piece, finished) = self.pieces.finish(&self.stops);
                    self.finished = finished;
                    return piece.map(Ok);
                }
            };
            let (piece, finished) = self.pieces.push(token, &self.stops);
            self.finished = finished;
            if piece.is_some() {
                return piece.map(Ok);
            }
        }
        None
    }
}

impl<B: Backend> Generation<B> {
    /// The text, piece by piece.
    pub fn text(self) -> Text<Self> {
        let vocab = self.vocab().clone();
        Text::new(self, vocab)
    }
}
