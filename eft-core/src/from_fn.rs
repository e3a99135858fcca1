//! [`from_fn`]: a stateless function `tokens → logits` as a full source, with rollback and select.
//!
//! ```
//! use eft_core::{from_fn, Host, Sampling, Vocab};
//!
//! // A bigram model: what follows depends on the last token only.
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! let table = [[0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]];
//! let model = from_fn(Host, vocab, move |tokens| {
//!     Ok(table[tokens[tokens.len() - 1] as usize].to_vec())
//! });
//! let ids: Vec<_> = model.generate([0], Sampling::greedy())?.take(4).map(|t| t.unwrap().id).collect();
//! assert_eq!(ids, [1, 2, 0, 1]);
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::sync::Arc;

use crate::backend::Backend;
use crate::check;
use crate::{
    Engine, EngineRow, EngineSpec, Error, Form, Opened, Result, RowFeed, Scores, Session, Source, TokenId,
    Vocab,
};

/// A source of a function from all tokens so far to the logits of the next: `vocab.width()` of them.
///
/// The function is called for each position that is scored; the session keeps no more than the tokens. Its scores
/// are computed on the host and uploaded, so this is for toys, tests, n-gram models and services, not for models
/// that live on a device: implement [`Engine`] for those.
pub fn from_fn<B: Backend>(
    backend: B,
    vocab: impl Into<Arc<Vocab>>,
    f: impl Fn(&[TokenId]) -> Result<Vec<f32>> + Send + Sync + 'static,
) -> Source<B> {
    let vocab = vocab.into();
    let name = vocab.name().to_string();
    Source::new(FnEngine::new(EngineSpec::new(name, backend, vocab), move |row| f(&row.tokens)))
}

/// A source of a black box that tells the log-probabilities of a few tokens only: its top k, say. Combinations are
/// made on the tokens that all terms know, and tell how much mass those cover.
///
/// ```
/// use eft_core::{from_top, from_fn, Host, Evaluator, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let black_box = from_top(Host, vocab.clone(), |_| Ok(vec![(0, 0.6f32.ln()), (2, 0.3f32.ln())]));
/// let pair = from_fn(Host, vocab, |_| Ok(vec![0.0, 9.0, 1.0]));
/// let mut evaluator = Evaluator::open(&[&(&black_box + &pair)], &[vec![0].into()])?;
/// let scores = evaluator.eval_last(0)?;
/// assert!((scores.known_mass(0).unwrap() - 0.9).abs() < 1e-6);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub fn from_top<B: Backend>(
    backend: B,
    vocab: impl Into<Arc<Vocab>>,
    f: impl Fn(&[TokenId]) -> Result<Vec<(TokenId, f32)>> + Send + Sync + 'static,
) -> Source<B> {
    let vocab = vocab.into();
    let (name, width) = (vocab.name().to_string(), vocab.width());
    let spec = EngineSpec::new(name.clone(), backend, vocab);
    let engine = FnEngine::new(spec, move |row| {
        let mut scores = vec![f32::NEG_INFINITY; width];
        for (token, log_prob) in f(&row.tokens)? {
            let known = scores.get_mut(token as usize);
            *known.ok_or(Error::TokenOutOfRange { term: name.clone(), row: 0, token, limit: width })? =
                log_prob;
        }
        Ok(scores)
    });
    Source::new(engine.form(Form::Partial))
}

/// The engine behind [`from_fn`], for functions of models with adapters or a limited context.
pub struct FnEngine<B: Backend> {
    shared: Arc<Shared<B>>,
}

type Function = dyn Fn(&EngineRow) -> Result<Vec<f32>> + Send + Sync;

struct Shared<B: Backend> {
    spec: EngineSpec<B>,
    form: Form,
    f: Box<Function>,
}

impl<B: Backend> FnEngine<B> {
    /// An engine of a function from a row to the logits of its next token.
    pub fn new(
        spec: EngineSpec<B>,
        f: impl Fn(&EngineRow) -> Result<Vec<f32>> + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::new(Shared { spec, form: Form::Logits, f: Box::new(f) }) }
    }

    /// Says that the function gives scores of this form rather than raw logits.
    pub fn form(self, form: Form) -> Self {
        let shared = Arc::try_unwrap(self.shared).map(|shared| Shared { form, ..shared });
        // Nothing else can hold it: sessions are opened from a reference, after this.
        match shared {
            Ok(shared) => Self { shared: Arc::new(shared) },
            Err(shared) => Self { shared },
        }
    }
}

impl<B: Backend> Engine for FnEngine<B> {
    type Backend = B;

    fn spec(&self) -> &EngineSpec<B> {
        &self.shared.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<B>> {
        self.shared.spec.check(rows)?;
        let wanted: Vec<_> = rows.iter().map(|row| row.tokens.len()..row.tokens.len() + 1).collect();
        let scores = self.shared.score(rows, &wanted)?;
        let session = FnSession { shared: self.shared.clone(), rows: rows.to_vec() };
        Ok((Box::new(session), scores))
    }
}

impl<B: Backend> Shared<B> {
    /// Scores after the prefixes of each row whose lengths are wanted.
    fn score(&self, rows: &[EngineRow], wanted: &[std::ops::Range<usize>]) -> Result<Scores<B>> {
        let width = self.spec.vocab.width();
        let score = |(index, (row, lengths)): (usize, (&EngineRow, &std::ops::Range<usize>))| {
            let position = |length: usize| {
                let prefix = EngineRow { adapter: row.adapter, tokens: row.tokens[..length].to_vec() };
                let logits = (self.f)(&prefix)?;
                if logits.len() == width {
                    return Ok(logits);
                }
                Err(Error::shape(format!("logits of `{}`, row {index}", self.spec.name), width, logits.len()))
            };
            lengths.clone().map(position).collect()
        };
        let scores = rows.iter().zip(wanted).enumerate().map(score).collect::<Result<Vec<Vec<_>>>>()?;
        Scores::upload(&self.spec.backend, &scores, width, self.form)
    }
}

struct FnSession<B: Backend> {
    shared: Arc<Shared<B>>,
    rows: Vec<EngineRow>,
}

impl<B: Backend> Session for FnSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.tokens.len()).collect()
    }

    fn room(&self) -> Vec<usize> {
        let context = self.shared.spec.context;
        self.rows.iter().map(|row| context.map_or(usize::MAX, |c| c - row.tokens.len())).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        let spec = &self.shared.spec;
        spec.check_feeds(feed, &self.room())?;
        let mut rows = self.rows.clone();
        let mut wanted = Vec::new();
        for (row, feed) in rows.iter_mut().zip(feed) {
            row.tokens.extend(&feed.tokens);
            let end = row.tokens.len() + 1;
            wanted.push(end - feed.wanted..end);
        }
        let scores = self.shared.score(&rows, &wanted)?;
        self.rows = rows;
        Ok(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rollback_limit())?;
        for (row, drop) in self.rows.iter_mut().zip(drop) {
            row.tokens.truncate(row.tokens.len() - drop);
        }
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
