//! [`Engine`]: a model of your own, which takes token ids and keeps KV caches.
//!
//! An engine is weights. [`Source::new`](crate::Source::new) makes a source of it. Several sources over one engine,
//! with other adapters or other prompts, run as rows of one forward pass, so that decoding reads the weights once for
//! all of them.
//!
//! Most engines keep a cache for each row, as here. A model that is a function of all its tokens is an
//! [`FnEngine`](crate::FnEngine) already.
//!
//! ```
//! use eft_core::conformance::{SourceTest, check_engine};
//! use eft_core::{
//!     check, Engine, EngineRow, EngineSpec, Form, Host, Opened, Result, RowFeed, Scores, Session, Source, Vocab,
//! };
//!
//! /// A model whose logits count the tokens read so far; the count is its cache.
//! #[derive(Clone)]
//! struct Counting {
//!     spec: EngineSpec<Host>,
//! }
//!
//! impl Engine for Counting {
//!     type Backend = Host;
//!
//!     fn spec(&self) -> &EngineSpec<Host> {
//!         &self.spec
//!     }
//!
//!     fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
//!         self.spec.check(rows)?;
//!         let mut session = CountingSession { spec: self.spec.clone(), counts: vec![0; rows.len()] };
//!         let prompts: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
//!         let scores = session.extend(&prompts)?;
//!         Ok((Box::new(session), scores))
//!     }
//! }
//!
//! struct CountingSession {
//!     spec: EngineSpec<Host>,
//!     counts: Vec<usize>,
//! }
//!
//! impl Session for CountingSession {
//!     type Backend = Host;
//!
//!     fn rollback_limit(&self) -> Vec<usize> {
//!         self.counts.clone()
//!     }
//!
//!     fn room(&self) -> Vec<usize> {
//!         vec![usize::MAX; self.counts.len()]
//!     }
//!
//!     fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Host>> {
//!         // Everything is checked before anything changes.
//!         self.spec.check_feeds(feeds, &self.room())?;
//!         let counts: Vec<_> = self.counts.iter().zip(feeds).map(|(n, feed)| n + feed.tokens.len()).collect();
//!         let score = |(count, feed): (&usize, &RowFeed)| {
//!             (count + 1 - feed.wanted..=*count).map(|n| vec![n as f32 % 3.0, 1.0]).collect()
//!         };
//!         let scores: Vec<Vec<Vec<f32>>> = counts.iter().zip(feeds).map(score).collect();
//!         let scores = Scores::upload(&self.spec.backend, &scores, 2, Form::Logits)?;
//!         self.counts = counts;
//!         Ok(scores)
//!     }
//!
//!     fn rollback(&mut self, drop: &[usize]) -> Result<()> {
//!         check::rollback(drop, &self.rollback_limit())?;
//!         self.counts.iter_mut().zip(drop).for_each(|(count, drop)| *count -= drop);
//!         Ok(())
//!     }
//!
//!     fn select(&mut self, rows: &[usize]) -> Result<()> {
//!         check::select(rows, self.counts.len())?;
//!         self.counts = rows.iter().map(|row| self.counts[*row]).collect();
//!         Ok(())
//!     }
//! }
//!
//! let engine = Counting { spec: EngineSpec::new("counting", Host, Vocab::new("ab", ["a", "b"])?) };
//! check_engine(&engine, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
//! assert_eq!(Source::new(engine).name(), "counting");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::sync::Arc;

use crate::backend::Backend;
use crate::check;
use crate::{Error, Opened, Result, TokenId, Vocab};

/// A model that runs rows of token ids, each under one of its adapters or none, in one forward pass.
///
/// See the [module](self) for an example, and `conformance::check_engine` for a test of an implementation.
pub trait Engine: Send + Sync {
    /// The tensor library that holds the scores.
    type Backend: Backend;

    /// Returns the description of the engine. It never changes.
    fn spec(&self) -> &EngineSpec<Self::Backend>;

    /// Opens a session on these rows, and returns it with the scores of each row's next token: one position a row.
    ///
    /// There is at least one row, each has at least one token, and its tokens, length and adapter fit the engine. This
    /// crate calls [`EngineSpec::check`] before every call to make sure; an engine that users may call themselves
    /// should call it again.
    ///
    /// # Errors
    /// Failures of the model, as [`Error::Source`] or [`Error::Backend`].
    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Self::Backend>>;
}

/// The description of an [`Engine`].
///
/// ```
/// use eft_core::{EngineSpec, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let spec = EngineSpec::new("small", Host, vocab).context(2048).bytes(1 << 30).adapters(["helpful"]);
/// assert_eq!((spec.name.as_str(), spec.context), ("small", Some(2048)));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct EngineSpec<B: Backend> {
    /// The name shown in messages and formulas, for example the checkpoint's.
    pub name: String,
    /// The tensor library, with the device that the scores are on.
    pub backend: B,
    /// The vocabulary.
    pub vocab: Arc<Vocab>,
    /// How many tokens a row can hold, prompt included; `None` if there is no limit.
    pub context: Option<usize>,
    /// How many bytes one forward pass reads, which determines its time while it is bound by memory; 0 if unknown.
    pub bytes: u64,
    /// The names of the adapters that rows can run under.
    pub adapters: Vec<String>,
}

impl<B: Backend> EngineSpec<B> {
    /// Describes a model without adapters, with an unlimited context and an unknown size.
    pub fn new(name: impl Into<String>, backend: B, vocab: impl Into<Arc<Vocab>>) -> Self {
        Self {
            name: name.into(),
            backend,
            vocab: vocab.into(),
            context: None,
            bytes: 0,
            adapters: Vec::new(),
        }
    }

    /// Sets how many tokens a row can hold, prompt included.
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets how many bytes one forward pass reads.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the names of the adapters that rows can run under.
    pub fn adapters<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.adapters = names.into_iter().map(Into::into).collect();
        self
    }

    /// Checks that rows may be passed to [`Engine::open`].
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`] if there are no rows.
    /// * [`Error::EmptyPrompt`] if a row has no tokens.
    /// * [`Error::TokenOutOfRange`] if a token is not below the vocabulary's width.
    /// * [`Error::ContextFull`] if a row is longer than the context.
    /// * [`Error::Unknown`] if an adapter does not exist.
    pub fn check(&self, rows: &[EngineRow]) -> Result<()> {
        self.check_as(&self.name, rows)
    }

    /// The same as [`check`](Self::check), with errors that name the term rather than the engine.
    pub(crate) fn check_as(&self, term: &str, rows: &[EngineRow]) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::EmptyBatch { what: "open" });
        }
        for (row, EngineRow { adapter, tokens }) in rows.iter().enumerate() {
            if tokens.is_empty() {
                return Err(Error::EmptyPrompt { term: term.into(), row });
            }
            check::within(term, row, tokens, self.vocab.width())?;
            if let Some(room) = self.context.filter(|room| tokens.len() > *room) {
                return Err(Error::ContextFull { term: term.into(), row, asked: tokens.len(), room });
            }
            if let Some(adapter) = adapter.filter(|a| *a >= self.adapters.len()) {
                return Err(self.unknown_adapter(adapter.to_string()));
            }
        }
        Ok(())
    }

    /// Checks that feeds fit a session of this engine whose row `i` has room for `room[i]` more tokens.
    /// [`Session::extend`](crate::Session::extend) should call this before it changes anything.
    ///
    /// ```
    /// use eft_core::{EngineSpec, Error, Host, RowFeed, Vocab};
    ///
    /// let spec = EngineSpec::new("ab", Host, Vocab::new("ab", ["a", "b"])?);
    /// assert!(spec.check_feeds(&[RowFeed::one(1)], &[5]).is_ok());
    /// assert!(matches!(spec.check_feeds(&[RowFeed::one(2)], &[5]), Err(Error::TokenOutOfRange { token: 2, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`] unless there is a feed for each row, or if a feed wants more positions than it has tokens.
    /// * [`Error::TokenOutOfRange`] if a token is not below the vocabulary's width.
    /// * [`Error::ContextFull`] if a feed is longer than the row's room.
    pub fn check_feeds(&self, feeds: &[crate::RowFeed], room: &[usize]) -> Result<()> {
        check::feeds(&self.name, feeds, room, self.vocab.width())
    }

    pub(crate) fn unknown_adapter(&self, name: String) -> Error {
        let known = if self.adapters.is_empty() { "none".into() } else { self.adapters.join(", ") };
        Error::Unknown { kind: "adapter", name, known }
    }
}

/// A row to open an [`Engine`] on.
///
/// ```
/// let row = eft_core::EngineRow { adapter: None, tokens: vec![1, 2, 3] };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineRow {
    /// The adapter that the row runs under, as an index into [`EngineSpec::adapters`]; `None` for the weights without
    /// an adapter.
    pub adapter: Option<usize>,
    /// The tokens of the prompt.
    pub tokens: Vec<TokenId>,
}
