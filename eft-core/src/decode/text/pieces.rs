use std::collections::VecDeque;
use std::sync::Arc;

use super::detokenizer::Detokenizer;
use crate::decode::stop::{FinishReason, Finished};
use crate::sample::Token;
use crate::{Error, Result, Vocab};

/// The next part of a text: whole characters, with the tokens they were made of.
///
/// Pieces collect into a `String`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Piece {
    /// The text. It is empty only at the end, if tokens without text are left.
    pub text: String,
    /// The tokens whose text begins in this piece, and tokens without text before them.
    pub tokens: Vec<Token>,
}

impl FromIterator<Piece> for String {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        pieces.into_iter().map(|piece| piece.text).collect()
    }
}

/// The state of one text while its tokens are turned into pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    detokenizer: Detokenizer,
    /// The strings before which the text ends.
    stops: Vec<String>,
    /// Whether the text ends after the stop string, not before it.
    keeps_stop: bool,
    /// Whole characters that may belong to a stop string.
    held: String,
    /// Tokens that have not been yielded, and where in `held` the text of each begins.
    tokens: VecDeque<(usize, Token)>,
    ended: bool,
}

impl Pieces {
    pub(super) fn new(vocab: Arc<Vocab>) -> Self {
        Self {
            detokenizer: Detokenizer::new(vocab),
            stops: Vec::new(),
            keeps_stop: false,
            held: String::new(),
            tokens: VecDeque::new(),
            ended: false,
        }
    }

    /// Adds a string before which the text ends.
    pub(super) fn until(&mut self, stop: String) {
        self.stops.push(stop);
    }

    /// Ends the text after the stop string that ends it, if `keeps` is set.
    pub(super) fn keep_stop(&mut self, keeps: bool) {
        self.keeps_stop = keeps;
    }

    /// Whether the text has ended; nothing is pushed after that.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Ends the text where it is, after an error. Characters and tokens held back are dropped.
    pub(super) fn abort(&mut self) {
        self.ended = true;
    }

    /// Takes a token. Returns the piece that can be yielded, if any, and how the text ended, if it did.
    pub(super) fn push(&mut self, token: Token) -> (Option<Piece>, Option<Finished>) {
        let text = self.detokenizer.push(token.id);
        self.tokens.push_back((self.held.len(), token));
        self.held.push_str(&text);
        if let Some(stopped) = self.stopped() {
            return stopped;
        }
        let keep = begun_stop(&self.held, &self.stops);
        (self.cut(self.held.len() - keep), None)
    }

    /// Ends the text after its last token. Returns the rest of it, and how it ended if not with its tokens: the half of
    /// a character that is left becomes U+FFFD, which may complete a stop string.
    pub(super) fn finish(&mut self) -> (Option<Piece>, Option<Finished>) {
        self.ended = true;
        self.held.push_str(&self.detokenizer.finish());
        if let Some(stopped) = self.stopped() {
            return stopped;
        }
        let text = std::mem::take(&mut self.held);
        let tokens: Vec<_> = self.tokens.drain(..).map(|(_, token)| token).collect();
        ((!text.is_empty() || !tokens.is_empty()).then_some(Piece { text, tokens }), None)
    }

    /// Ends the text before a stop string, or after it, if it contains one.
    fn stopped(&mut self) -> Option<(Option<Piece>, Option<Finished>)> {
        let (at, index) = first_stop(&self.held, &self.stops)?;
        let end = if self.keeps_stop { at + self.stops[index].len() } else { at };
        let piece = self.cut(end);
        let tail = self.tokens.drain(..).map(|(_, token)| token).collect();
        self.ended = true;
        Some((piece, Some(Finished { reason: FinishReason::StopString(index), tail })))
    }

    /// Yields the first `at` bytes of the characters held back.
    fn cut(&mut self, at: usize) -> Option<Piece> {
        if at == 0 {
            return None;
        }
        let rest = self.held.split_off(at);
        let text = std::mem::replace(&mut self.held, rest);
        let begins = self.tokens.iter().take_while(|(begin, _)| *begin < at).count();
        let tokens = self.tokens.drain(..begins).map(|(_, token)| token).collect();
        self.tokens.iter_mut().for_each(|(begin, _)| *begin -= at);
        Some(Piece { text, tokens })
    }
}

/// Finds the stop string that is complete first: where it begins, and its index. Of several that are complete at the
/// same character, it is the longest.
fn first_stop(text: &str, stops: &[String]) -> Option<(usize, usize)> {
    let found = stops.iter().enumerate();
    let found = found.filter_map(|(index, stop)| text.find(stop).map(|at| (at + stop.len(), at, index)));
    found.min().map(|(_, at, index)| (at, index))
}

/// Returns the length in bytes of the longest end of the text with which a stop string begins.
fn begun_stop(text: &str, stops: &[String]) -> usize {
    let begun = |stop: &String| {
        let lengths = stop.char_indices().map(|(at, _)| at).rev();
        lengths.into_iter().find(|length| text.ends_with(&stop[..*length])).unwrap_or(0)
    };
    stops.iter().map(begun).max().unwrap_or(0)
}

/// Checks that the vocabulary knows the bytes of its tokens, which text is made of.
pub(super) fn check_vocab(vocab: &Vocab) -> Result<()> {
    if vocab.is_anonymous() {
        let what = "text: the bytes of its tokens are not known".into();
        return Err(Error::Unsupported { who: format!("the vocabulary `{}`", vocab.name()), what });
    }
    Ok(())
}
