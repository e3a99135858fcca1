//! [`Engine`]: a model of one's own, which takes token ids and keeps caches.
//!
//! An engine is weights. [`Source::new`](crate::Source::new) makes a source of it; several sources over one engine
//! (other adapters, other prompts) run as rows of one forward pass, so that memory-bound decoding reads the weights
//! once.
//!
//! ```
//! use eft_core::{from_fn, Host, Source, Vocab};
//!
//! // The smallest engine there is: a function of the tokens so far.
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let source: Source<Host> = from_fn(Host, vocab, |_tokens| Ok(vec![0.0, 1.0]));
//! assert_eq!(source.name(), "ab");
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::sync::Arc;

use crate::backend::Backend;
use crate::check;
use crate::{Error, Opened, Result, TokenId, Vocab};

/// A model that runs rows of token ids, each under one of its adapters, in one pass.
pub trait Engine: Send + Sync {
    /// Where its scores live.
    type Backend: Backend;

    /// What it is.
    fn spec(&self) -> &EngineSpec<Self::Backend>;

    /// A session with these rows, and the scores of each row's next token.
    ///
    /// Rows have at least one token, tokens below the vocabulary's width, and adapters that exist:
    /// [`EngineSpec::check`] tests for it, and callers within this crate have called it.
    ///
    /// # Errors
    /// Failures of the model, as [`Error::Source`] or [`Error::Backend`].
    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Self::Backend>>;
}

/// What an engine is.
#[derive(Debug, Clone)]
pub struct EngineSpec<B: Backend> {
    /// Name for messages, such as the checkpoint's.
    pub name: String,
    /// The tensor library, with the device that scores are on.
    pub backend: B,
    /// Its tokens.
    pub vocab: Arc<Vocab>,
    /// Tokens a row can hold, prompt included; `None` without a limit.
    pub context: Option<usize>,
    /// Bytes that one forward pass reads: what a pass of memory-bound decoding costs. 0 where unknown.
    pub bytes: u64,
    /// Names of the adapters that rows can ask for.
    pub adapters: Vec<String>,
}

impl<B: Backend> EngineSpec<B> {
    /// A model without adapters or a limit of its context.
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

    /// Tokens a row can hold, prompt included.
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Bytes that one forward pass reads.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Names of the adapters that rows can ask for.
    pub fn adapters<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.adapters = names.into_iter().map(Into::into).collect();
        self
    }

    /// Rows are such as [`Engine::open`] may be given.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`],
    /// [`Error::Unknown`] for an adapter.
    pub fn check(&self, rows: &[EngineRow]) -> Result<()> {
        self.check_as(&self.name, rows)
    }

    /// As [`check`](Self::check), for a term that bears another name.
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

    /// Feeds fit a session of this engine whose rows have so much room: what [`Session::extend`](crate::Session::extend)
    /// checks before it touches anything.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::TokenOutOfRange`], [`Error::ContextFull`].
    pub fn check_feeds(&self, feeds: &[crate::RowFeed], room: &[usize]) -> Result<()> {
        check::feeds(&self.name, feeds, room, self.vocab.width())
    }

    pub(crate) fn unknown_adapter(&self, name: String) -> Error {
        let known = if self.adapters.is_empty() { "none".into() } else { self.adapters.join(", ") };
        Error::Unknown { kind: "adapter", name, known }
    }
}

/// A row to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineRow {
    /// Which of the engine's adapters the row runs under, by its index in [`EngineSpec::adapters`]; `None` for the
    /// bare weights.
    pub adapter: Option<usize>,
    /// Its tokens.
    pub tokens: Vec<TokenId>,
}
