//! [`LogitSource`] and [`Session`]: a language model, and its KV caches over a batch of sequences.
//!
//! To wrap your own inference code, implement [`Engine`](crate::Engine), a model that takes token ids: sources over one
//! engine then share its forward passes. Implement [`LogitSource`] directly for anything else, such as a remote
//! service. To write a decoding loop, call the methods of [`Session`]:
//!
//! ```
//! use eft_core::{from_fn, Host, LogitSource, RowFeed, Session, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! // Each token is followed by the next letter.
//! let source = from_fn(Host, vocab, |tokens| {
//!     let last = tokens[tokens.len() - 1] as usize;
//!     Ok((0..3).map(|id| if id == (last + 1) % 3 { 1.0 } else { 0.0 }).collect())
//! });
//! let (mut session, _scores) = source.open(&[vec![0].into()])?;
//! let scores = session.extend(&[RowFeed::all(vec![1, 2])])?;
//! assert_eq!(scores.positions(0).len(), 2);
//! session.rollback(&[1])?; // as if the 2 had never been fed
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::sync::Arc;

use crate::backend::Backend;
use crate::{Prompt, Result, Scores, TokenId, Vocab};

/// A new session, and the scores of each row's next token.
pub type Opened<B> = (Box<dyn Session<Backend = B>>, Scores<B>);

/// A language model over a fixed vocabulary, which can be opened on prompts. A combination of models is one, too.
///
/// ```
/// use std::sync::Arc;
/// use eft_core::{from_fn, Host, LogitSource, Opened, Prompt, Result, Source, Vocab};
///
/// /// A model that starts every text with the same token.
/// struct Greeting(Source<Host>);
///
/// impl LogitSource for Greeting {
///     type Backend = Host;
///
///     fn backend(&self) -> &Host {
///         self.0.backend()
///     }
///
///     fn vocab(&self) -> &Arc<Vocab> {
///         self.0.vocab()
///     }
///
///     fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
///         let prompts = prompts.iter().map(|prompt| match prompt {
///             Prompt::Tokens(ids) => Prompt::Tokens([&[1][..], ids].concat()),
///             other => other.clone(),
///         });
///         self.0.open(&prompts.collect::<Vec<_>>())
///     }
/// }
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens[0] as f32, 0.5]));
/// let greeting = Source::opaque(Greeting(model));
/// assert_eq!(greeting.generate([0], eft_core::Sampling::greedy())?.next().unwrap()?.id, 0);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait LogitSource: Send + Sync {
    /// The tensor library that holds the scores.
    type Backend: Backend;

    /// Returns the tensor library, with the device that the scores are on.
    fn backend(&self) -> &Self::Backend;

    /// Returns the vocabulary that the scores are over.
    fn vocab(&self) -> &Arc<Vocab>;

    /// Opens a session with a row for each prompt, and returns it with the scores of each row's next token: one
    /// position a row, at least [`Vocab::real`] columns.
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`](crate::Error::EmptyBatch) if there are no prompts.
    /// * [`Error::EmptyPrompt`](crate::Error::EmptyPrompt) if a prompt has no tokens.
    /// * [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange) if a prompt has an id past the vocabulary.
    /// * [`Error::ContextFull`](crate::Error::ContextFull) if a prompt is longer than the context.
    /// * Any error that the model reports while it runs.
    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Self::Backend>>;
}

/// The KV caches of a batch of sequences, called rows. Rows may differ in length, and may be fed different numbers of
/// tokens by one call.
///
/// A call that fails leaves the session as it was before the call, or else every later call of
/// [`extend`](Self::extend), [`rollback`](Self::rollback) and [`select`](Self::select) returns
/// [`Error::Poisoned`](crate::Error::Poisoned). The conformance kit
/// (`conformance::check_engine` and `check_source`) tests this and everything else that is said here.
///
/// ```
/// use eft_core::{from_fn, Host, LogitSource, RowFeed, Session, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let source = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
/// let (mut session, _) = source.open(&[vec![0].into(), vec![1, 0].into()])?;
///
/// // Two tokens for row 0 with the scores after both, one for row 1 with none.
/// let scores = session.extend(&[RowFeed::all(vec![0, 1]), RowFeed { tokens: vec![1], wanted: 0 }])?;
/// assert_eq!((scores.positions(0).len(), scores.positions(1).len()), (2, 0));
///
/// // Row 0 forgets its last token; then it is forked, and row 1 is dropped.
/// session.rollback(&[1, 0])?;
/// session.select(&[0, 0])?;
/// assert_eq!(session.rollback_limit(), [1, 1]);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait Session: Send {
    /// The tensor library that holds the scores.
    type Backend: Backend;

    /// Returns how many tokens [`rollback`](Self::rollback) may drop from each row: at least those fed since the
    /// session was opened, and at most all of its tokens, where the model can also go back into the prompt.
    fn rollback_limit(&self) -> Vec<usize>;

    /// Returns how many more tokens each row accepts; `usize::MAX` if there is no limit.
    fn room(&self) -> Vec<usize>;

    /// Appends the tokens of `feeds[i]` to row `i`, and returns the scores that follow its last `feeds[i].wanted`
    /// tokens.
    ///
    /// ```
    /// use eft_core::{from_fn, Backend, Host, LogitSource, RowFeed, Session, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let source = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let (mut session, _) = source.open(&[vec![0].into()])?;
    /// let scores = session.extend(&[RowFeed::last(vec![1, 0, 1])])?;
    /// assert_eq!(Host.download(&scores.last()?, 2)?, [4.0, 0.0]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a feed for each row, or if a feed wants more positions
    ///   than it has tokens.
    /// * [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange) if a token is past the vocabulary.
    /// * [`Error::ContextFull`](crate::Error::ContextFull) if a feed is longer than the row's room.
    /// * [`Error::Poisoned`](crate::Error::Poisoned) if an earlier call failed half-way.
    /// * Any error that the model reports while it runs.
    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Self::Backend>>;

    /// Drops `drop[i]` tokens from the end of row `i`, as if they had never been fed.
    ///
    /// ```
    /// use eft_core::{from_fn, Backend, Error, Host, LogitSource, RowFeed, Session, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let source = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let (mut session, _) = source.open(&[vec![0].into()])?;
    /// session.extend(&[RowFeed::last(vec![1, 0, 1])])?;
    /// session.rollback(&[2])?;
    /// assert!(matches!(session.rollback(&[2]), Err(Error::RollbackTooFar { row: 0, asked: 2, limit: 1 })));
    ///
    /// let scores = session.extend(&[RowFeed::one(0)])?;
    /// assert_eq!(Host.download(&scores.last()?, 2)?, [3.0, 0.0]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a number for each row.
    /// * [`Error::RollbackTooFar`](crate::Error::RollbackTooFar) if a number exceeds
    ///   [`rollback_limit`](Self::rollback_limit).
    /// * [`Error::Poisoned`](crate::Error::Poisoned) if an earlier call failed half-way.
    /// * Any error that the model reports.
    fn rollback(&mut self, drop: &[usize]) -> Result<()>;

    /// Replaces the rows: new row `i` is a copy of old row `rows[i]`. A row named twice is forked, a row not named is
    /// dropped, and rows may change their order.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, LogitSource, Session, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let source = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let (mut session, _) = source.open(&[vec![0].into(), vec![1].into()])?;
    /// session.select(&[1, 1, 0])?;
    /// assert_eq!(session.room().len(), 3);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`](crate::Error::EmptyBatch) if `rows` is empty.
    /// * [`Error::RowOutOfRange`](crate::Error::RowOutOfRange) if a row does not exist.
    /// * [`Error::Poisoned`](crate::Error::Poisoned) if an earlier call failed half-way.
    /// * Any error that the model reports.
    fn select(&mut self, rows: &[usize]) -> Result<()>;

    /// Says which random numbers will draw the tokens after the next call of [`extend`](Self::extend), where the caller knows
    /// them: `draws(row, i)` is the one for the `i`-th token after that call, counted from 0, as
    /// [`Sampler`](crate::Sampler) uses them.
    ///
    /// A hint, which by default is ignored. With it, a session can compute in one pass what the tokens that will probably be drawn
    /// need. It must not change any scores, but for rounding.
    fn foresee(&mut self, draws: Draws<'_>) {
        let _ = draws;
    }
}

/// The random numbers that will draw tokens: see [`Session::foresee`]. `None` for a row whose tokens are not drawn.
pub type Draws<'a> = &'a dyn Fn(usize, usize) -> Option<f64>;

/// The tokens that one call of [`Session::extend`] appends to one row, and how many positions it scores.
///
/// ```
/// use eft_core::RowFeed;
///
/// assert_eq!(RowFeed::none(), RowFeed { tokens: vec![], wanted: 0 });
/// assert_eq!(RowFeed::one(7), RowFeed { tokens: vec![7], wanted: 1 });
/// assert_eq!(RowFeed::last(vec![7, 8]), RowFeed { tokens: vec![7, 8], wanted: 1 });
/// assert_eq!(RowFeed::all(vec![7, 8]), RowFeed { tokens: vec![7, 8], wanted: 2 });
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFeed {
    /// The tokens; may be empty.
    pub tokens: Vec<TokenId>,
    /// The number of tokens, counted from the last, whose following scores are wanted: 0 to all of them.
    pub wanted: usize,
}

impl RowFeed {
    /// Returns a feed of no tokens.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns a feed of one token that wants the scores after it.
    #[must_use]
    pub fn one(token: TokenId) -> Self {
        Self::last(vec![token])
    }

    /// Returns a feed of tokens that wants the scores after the last of them.
    #[must_use]
    pub fn last(tokens: Vec<TokenId>) -> Self {
        Self { wanted: tokens.len().min(1), tokens }
    }

    /// Returns a feed of tokens that wants the scores after each of them.
    #[must_use]
    pub fn all(tokens: Vec<TokenId>) -> Self {
        Self { wanted: tokens.len(), tokens }
    }
}
