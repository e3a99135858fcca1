use std::collections::VecDeque;
use std::sync::Arc;

use super::Detokenizer;
use crate::decode::{FinishReason, Finished};
use crate::sample::Token;
use crate::{Error, Result, Vocab};

/// Some more of a text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Piece {
    /// The text. Empty only at the end, where tokens are left that stand for none.
    pub text: String,
    /// The tokens that begin in it, or stand before it for no text of their own.
    pub tokens: Vec<Token>,
}

impl FromIterator<Piece> for String {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        pieces.into_iter().map(|piece| piece.text).collect()
    }
}

/// One text on its way from tokens to pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    detokenizer: Detokenizer,
    /// Whole characters that may belong to a stop string.
    held: String,
    /// Tokens that were not yielded, and where in `held` each begins.
    tokens: VecDeque<(usize, Token)>,
    pub(super) ended: bool,
}

impl Pieces {
    pub(super) fn new(vocab: Arc<Vocab>) -> Self {
        let detokenizer = Detokenizer::new(vocab);
        Self { detokenizer, held: String::new(), tokens: VecDeque::new(), ended: false }
    }

    /// Takes in a token. Returns what can be yielded, and how the text ended, if it did.
    pub(super) fn push(&mut self, token: Token, stops: &[String]) -> (Option<Piece>, Option<Finished>) {
        let text = self.detokenizer.push(token.id);
        self.tokens.push_back((self.held.len(), token));
        self.held.push_str(&text);
        if let Some(stopped) = self.stopped(stops) {
            return stopped;
        }
        let keep = begun_stop(&self.held, stops);
        (self.cut(self.held.len() - keep), None)
    }

    /// The rest, once nothing can follow, and how the text ended, if that is not where its tokens did: half a
    /// character is U+FFFD at last, which a stop string may hold.
    pub(super) fn finish(&mut self, stops: &[String]) -> (Option<Piece>, Option<Finished>) {
        self.ended = true;
        self.held.push_str(&self.detokenizer.finish());
        if let Some(stopped) = self.stopped(stops) {
            return stopped;
        }
        let text = std::mem::take(&mut self.held);
        let tokens: Vec<_> = self.tokens.drain(..).map(|(_, token)| token).collect();
        ((!text.is_empty() || !tokens.is_empty()).then_some(Piece { text, tokens }), None)
    }

    /// What comes before a stop string, if there is one.
    fn stopped(&mut self, stops: &[String]) -> Option<(Option<Piece>, Option<Finished>)> {
        let (at, index) = first_stop(&self.held, stops)?;
        let piece = self.cut(at);
        let tail = self.tokens.drain(..).map(|(_, token)| token).collect();
        self.ended = true;
        Some((piece, Some(Finished { reason: FinishReason::StopString(index), tail })))
    }

    /// Yields the first `at` bytes of what is held.
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

/// Where the stop string that is complete first begins, and which it is; of those that are complete at the same
/// character, the longest.
fn first_stop(text: &str, stops: &[String]) -> Option<(usize, usize)> {
    let found = stops.iter().enumerate();
    let found = found.filter_map(|(index, stop)| text.find(stop).map(|at| (at + stop.len(), at, index)));
    found.min().map(|(_, at, index)| (at, index))
}

/// The length of the longest end of the text that a stop string begins with.
fn begun_stop(text: &str, stops: &[String]) -> usize {
    let begun = |stop: &String| {
        let lengths = stop.char_indices().map(|(at, _)| at).rev();
        lengths.into_iter().find(|length| text.ends_with(&stop[..*length])).unwrap_or(0)
    };
    stops.iter().map(begun).max().unwrap_or(0)
}

fn known(vocab: &Vocab) -> Result<()> {
    if vocab.is_anonymous() {
        let what = "text: the bytes of its tokens are not known".into();
        return Err(Error::Unsupported { who: format!("the vocabulary `{}`", vocab.name()), what });
    }
    Ok(())
}

pub(super) fn check(vocab: &Vocab, stops: &[String]) -> Result<()> {
    known(vocab)?;
    if stops.iter().any(String::is_empty) {
        return Err(Error::parameter("until", "\"\"", "at least one character"));
    }
    Ok(())
}
