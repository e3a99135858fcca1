//! [`LogitSource`] and [`Session`]: a language model, and its key-value caches over a batch of sequences.
//!
//! Whoever wraps inference code implements [`Engine`](crate::Engine) (a model that takes token ids; folding and
//! shared passes come for free) or, for something stranger, `LogitSource` itself. Whoever writes a decoding loop
//! calls these methods:
//!
//! ```
//! use eft_core::{from_fn, Host, LogitSource, RowFeed, Session, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! // After each token comes the next one of the alphabet.
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

/// A session and the scores of each row's next token.
pub type Opened<B> = (Box<dyn Session<Backend = B>>, Scores<B>);

/// A language model over a fixed vocabulary: something that can be opened on prompts. Combinations of models are
/// ones, too.
pub trait LogitSource: Send + Sync {
    /// Where its scores live.
    type Backend: Backend;

    /// The tensor library, with the device that scores are on.
    fn backend(&self) -> &Self::Backend;

    /// The tokens that its scores are for.
    fn vocab(&self) -> &Arc<Vocab>;

    /// A session with a row for each prompt, and the scores of each row's next token.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`](crate::Error::EmptyBatch), [`Error::EmptyPrompt`](crate::Error::EmptyPrompt),
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange),
    /// [`Error::ContextFull`](crate::Error::ContextFull), and failures of the model.
    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Self::Backend>>;
}

/// The key-value caches of a batch of sequences. Rows may differ in length and are fed different numbers of tokens.
///
/// On an error a session is as it was before the call, or else every later call returns
/// [`Error::Poisoned`](crate::Error::Poisoned).
pub trait Session: Send {
    /// Where its scores live.
    type Backend: Backend;

    /// How many tokens [`rollback`](Self::rollback) may drop from each row: at least those fed since the session
    /// was opened, and more, up to all tokens there are, where the model can go back into the prompt. As many
    /// entries as rows.
    fn rollback_limit(&self) -> Vec<usize>;

    /// How many tokens each row still accepts; `usize::MAX` without a limit.
    fn room(&self) -> Vec<usize>;

    /// Appends tokens to each row and scores the token after each of the trailing positions wanted.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) unless there is a feed for each row,
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange),
    /// [`Error::ContextFull`](crate::Error::ContextFull), and failures of the model.
    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Self::Backend>>;

    /// Drops that many tokens from the end of each row, as if they had never been fed.
    ///
    /// # Errors
    /// [`Error::RollbackTooFar`](crate::Error::RollbackTooFar) past
    /// [`rollback_limit`](Self::rollback_limit).
    fn rollback(&mut self, drop: &[usize]) -> Result<()>;

    /// Makes row `i` what row `rows[i]` was: forks (a row named twice), prunes (a row not named) and reorders.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`](crate::Error::EmptyBatch) and
    /// [`Error::RowOutOfRange`](crate::Error::RowOutOfRange).
    fn select(&mut self, rows: &[usize]) -> Result<()>;
}

/// What one row is fed in one call of [`Session::extend`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFeed {
    /// The tokens; may be none.
    pub tokens: Vec<TokenId>,
    /// How many trailing tokens are to be followed by scores, from 0 to all of them.
    pub wanted: usize,
}

impl RowFeed {
    /// Nothing for this row.
    pub fn none() -> Self {
        Self::default()
    }

    /// One token, and the scores after it.
    pub fn one(token: TokenId) -> Self {
        Self::last(vec![token])
    }

    /// Tokens, and the scores after the last of them.
    pub fn last(tokens: Vec<TokenId>) -> Self {
        Self { wanted: tokens.len().min(1), tokens }
    }

    /// Tokens, and the scores after each of them.
    pub fn all(tokens: Vec<TokenId>) -> Self {
        Self { wanted: tokens.len(), tokens }
    }
}
