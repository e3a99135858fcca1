use std::sync::Arc;

use super::pieces::{Piece, Pieces, check_vocab};
use crate::backend::Backend;
use crate::decode::generation::Generation;
use crate::decode::report::Report;
use crate::decode::request::check_stop_strings;
use crate::decode::stop::Finished;
use crate::sample::Token;
use crate::{Result, Vocab};

/// One text, piece by piece: an iterator over any iterator of tokens.
///
/// The text ends with its tokens, or before a stop string. The tokens' iterator is not advanced after that.
///
/// ```
/// use std::sync::Arc;
/// use eft_core::decode::Text;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = from_fn(Host, vocab.clone(), |tokens| Ok(vec![0.0, if tokens.len() < 3 { -9.0 } else { 9.0 }]));
/// let tokens = model.generate([0], Decoding::default().max_tokens(4))?;
/// let text: String = Text::new(tokens, Arc::new(vocab))?.until("bb")?.collect::<eft_core::Result<_>>()?;
/// assert_eq!(text, "aa");
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Text<I> {
    tokens: I,
    pieces: Pieces,
    finished: Option<Finished>,
}

impl<I: Iterator<Item = Result<Token>>> Text<I> {
    /// Creates the text of tokens of a vocabulary.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) if the vocabulary does not know the bytes of its tokens.
    pub fn new(tokens: I, vocab: Arc<Vocab>) -> Result<Self> {
        check_vocab(&vocab)?;
        Ok(Self { tokens, pieces: Pieces::new(vocab), finished: None })
    }

    /// Also ends the text before this string, wherever its tokens begin and end.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if the string is empty.
    pub fn until(mut self, stop: impl Into<String>) -> Result<Self> {
        let stop = stop.into();
        check_stop_strings(std::slice::from_ref(&stop))?;
        self.pieces.until(stop);
        Ok(self)
    }

    /// Also ends the text before any of these strings, wherever their tokens begin and end.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
    /// let model = from_fn(Host, vocab, |tokens| {
    ///     Ok((0..3).map(|id| if id == tokens.len() % 3 { 5.0 } else { 0.0 }).collect())
    /// });
    /// let text = || model.generate([0], Decoding::from(Sampling::greedy()).max_tokens(6))?.text();
    /// let read = |text: eft_core::decode::Text<_>| text.collect::<eft_core::Result<String>>();
    /// assert_eq!(read(text()?.until_any(["bb", "ab"])?)?, "bc");
    /// assert_eq!(read(text()?.until_any(["bb", "ab"])?.keep_stop(true))?, "bcab");
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if a string is empty.
    pub fn until_any<S: Into<String>>(self, stops: impl IntoIterator<Item = S>) -> Result<Self> {
        stops.into_iter().try_fold(self, Self::until)
    }

    /// Sets whether the stop string that ends the text is part of it. By default it is not.
    #[must_use]
    pub fn keep_stop(mut self, keep: bool) -> Self {
        self.pieces.keep_stop(keep);
        self
    }

    /// Returns the iterator of the tokens.
    pub fn into_inner(self) -> I {
        self.tokens
    }
}

impl<B: Backend> Text<Generation<B>> {
    /// Returns how the text ended; `None` while it has not.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref().or(self.tokens.finished())
    }

    /// Returns statistics of speculative decoding so far; `None` for plain decoding.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = |name: &str| from_fn(Host, vocab.clone().named(name), |_| Ok(vec![0.0, 1.0]));
    /// let speculative = model("large").speculate().draft(&model("small")).block(2);
    /// let mut text = speculative.generate([0], Decoding::from(Sampling::greedy()).max_tokens(6))?.text()?;
    /// text.by_ref().for_each(drop);
    /// assert_eq!(text.report().and_then(|report| report.acceptance()), Some(1.0));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn report(&self) -> Option<&Report> {
        self.tokens.report()
    }
}

impl<I: Iterator<Item = Result<Token>>> Iterator for Text<I> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.pieces.ended() {
            let (piece, finished) = match self.tokens.next() {
                Some(Ok(token)) => self.pieces.push(token),
                None => self.pieces.finish(),
                Some(Err(error)) => {
                    self.pieces.abort();
                    return Some(Err(error));
                }
            };
            self.finished = finished;
            if piece.is_some() {
                return piece.map(Ok);
            }
        }
        None
    }
}

impl<B: Backend> Generation<B> {
    /// Turns the tokens into text, piece by piece.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) if the vocabulary does not know the bytes of its tokens.
    pub fn text(self) -> Result<Text<Self>> {
        let vocab = self.vocab().clone();
        Text::new(self, vocab)
    }
}
