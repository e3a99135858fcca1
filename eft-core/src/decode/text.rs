//! Text as it is generated: from tokens to pieces of it, which hold whole characters and no stop string.
//!
//! ```
//! use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
//!
//! // The second and the third token are halves of one character.
//! let vocab = Vocab::new("bytes", [&b"caf"[..], b"\xC3", b"\xA9", b"s.", b" Tea"])?;
//! let model = from_fn(Host, vocab, |tokens| {
//!     Ok((0..5).map(|id| if id == tokens.len() - 1 { 5.0 } else { 0.0 }).collect())
//! });
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(5);
//!
//! let pieces = model.generate([0], decoding.clone())?.text();
//! let pieces: Vec<_> = pieces.map(|piece| Ok(piece?.text)).collect::<eft_core::Result<_>>()?;
//! assert_eq!(pieces, ["caf", "é", "s.", " Tea"]);
//!
//! let sentence: String = model.generate([0], decoding)?.text().until(". T").collect::<eft_core::Result<_>>()?;
//! assert_eq!(sentence, "cafés");
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::collections::VecDeque;
use std::sync::Arc;

use super::{Batch, Event, FinishReason, Finished, Generation};
use crate::backend::Backend;
use crate::sample::Token;
use crate::{Error, Result, TokenId, Vocab};

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
struct Pieces {
    detokenizer: Detokenizer,
    /// Whole characters that may belong to a stop string.
    held: String,
    /// Tokens that were not yielded, and where in `held` each begins.
    tokens: VecDeque<(usize, Token)>,
    ended: bool,
}

impl Pieces {
    fn new(vocab: Arc<Vocab>) -> Self {
        let detokenizer = Detokenizer::new(vocab);
        Self { detokenizer, held: String::new(), tokens: VecDeque::new(), ended: false }
    }

    /// Takes in a token. Returns what can be yielded, and how the text ended, if it did.
    fn push(&mut self, token: Token, stops: &[String]) -> (Option<Piece>, Option<Finished>) {
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
    fn finish(&mut self, stops: &[String]) -> (Option<Piece>, Option<Finished>) {
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

fn check(vocab: &Vocab, stops: &[String]) -> Result<()> {
    known(vocab)?;
    if stops.iter().any(String::is_empty) {
        return Err(Error::parameter("until", "\"\"", "at least one character"));
    }
    Ok(())
}

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

/// Texts of a batch, piece by piece: an iterator over any iterator of [`Event`]s.
pub struct TextBatch<I> {
    events: I,
    /// Ends a row whose text is wanted no further.
    retire: Option<fn(&mut I, usize) -> Result<()>>,
    vocab: Arc<Vocab>,
    rows: Vec<Pieces>,
    stops: Vec<String>,
    ready: VecDeque<TextEvent>,
    begun: bool,
    failed: bool,
}

/// What happens to a row's text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextEvent {
    /// There is more of it.
    Piece {
        /// Index of the prompt.
        row: usize,
        /// The text.
        piece: Piece,
    },
    /// It has ended. The last event of its row.
    Finished {
        /// Index of the prompt.
        row: usize,
        /// How.
        finished: Finished,
    },
}

impl<I: Iterator<Item = Result<Event>>> TextBatch<I> {
    /// The texts of tokens of a vocabulary. Rows that a stop string has ended may run on, unseen:
    /// [`retiring`](Self::retiring) ends them.
    pub fn new(events: I, vocab: Arc<Vocab>) -> Self {
        let (rows, stops, ready) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { events, retire: None, vocab, rows, stops, ready, begun: false, failed: false }
    }

    /// As [`new`](Self::new), with a way to end a row, such as [`Batch::retire`].
    pub fn retiring(events: I, vocab: Arc<Vocab>, retire: fn(&mut I, usize) -> Result<()>) -> Self {
        Self { retire: Some(retire), ..Self::new(events, vocab) }
    }

    /// Ends every text before this string, too, wherever tokens begin and end.
    pub fn until(mut self, stop: impl Into<String>) -> Self {
        self.stops.push(stop.into());
        self
    }

    /// The events' iterator, to go on with.
    pub fn into_inner(self) -> I {
        self.events
    }

    /// Reads all texts to their ends: by prompt, as far as there were events for them.
    ///
    /// # Errors
    /// The first that the iterator yields.
    pub fn read(self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for event in self {
            let (row, text) = match event? {
                TextEvent::Piece { row, piece } => (row, piece.text),
                TextEvent::Finished { row, .. } => (row, String::new()),
            };
            if texts.len() <= row {
                texts.resize(row + 1, String::new());
            }
            texts[row].push_str(&text);
        }
        Ok(texts)
    }

    fn take(&mut self, event: Event) -> Result<()> {
        let (Event::Token { row, .. } | Event::Finished { row, .. }) = event;
        while self.rows.len() <= row {
            self.rows.push(Pieces::new(self.vocab.clone()));
        }
        let pieces = &mut self.rows[row];
        if pieces.ended {
            return Ok(());
        }
        let (piece, finished) = match event {
            Event::Token { token, .. } => pieces.push(token, &self.stops),
            Event::Finished { finished, .. } => {
                let (piece, stopped) = pieces.finish(&self.stops);
                (piece, Some(stopped.unwrap_or(finished)))
            }
        };
        let stopped = matches!(&finished, Some(Finished { reason: FinishReason::StopString(_), .. }));
        self.ready.extend(piece.map(|piece| TextEvent::Piece { row, piece }));
        self.ready.extend(finished.map(|finished| TextEvent::Finished { row, finished }));
        match self.retire {
            Some(retire) if stopped => retire(&mut self.events, row),
            _ => Ok(()),
        }
    }
}

impl<I: Iterator<Item = Result<Event>>> Iterator for TextBatch<I> {
    type Item = Result<TextEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut result = Ok(());
        if !std::mem::replace(&mut self.begun, true) {
            result = check(&self.vocab, &self.stops);
        }
        while result.is_ok() && self.ready.is_empty() && !self.failed {
            result = match self.events.next()? {
                Ok(event) => self.take(event),
                Err(error) => Err(error),
            };
        }
        if let Err(error) = result {
            self.failed = true;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }
}

impl<I: std::fmt::Debug> std::fmt::Debug for TextBatch<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextBatch").field("events", &self.events).finish_non_exhaustive()
    }
}

impl<B: Backend> Generation<B> {
    /// The text, piece by piece.
    pub fn text(self) -> Text<Self> {
        let vocab = self.vocab().clone();
        Text::new(self, vocab)
    }
}

impl<B: Backend> Batch<B> {
    /// The texts, piece by piece.
    pub fn text(self) -> TextBatch<Self> {
        let vocab = self.vocab().clone();
        TextBatch::retiring(self, vocab, Self::retire)
    }
}
