//! [`from_fn`], [`from_top`] and [`FnEngine`]: sources made of a stateless function from tokens to logits.
//!
//! ```
//! use eft_core::{from_fn, Host, Sampling, Vocab};
//!
//! // A bigram model: the logits depend on the last token only.
//! let vocab = Vocab::new("abc", ["a", "b", "c"])?;
//! let table = [[0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]];
//! let model = from_fn(Host, vocab, move |tokens| {
//!     Ok(table[tokens[tokens.len() - 1] as usize].to_vec())
//! });
//! let ids: Vec<_> = model.generate([0], Sampling::greedy())?.take(4).map(|t| t.unwrap().id).collect();
//! assert_eq!(ids, [1, 2, 0, 1]);
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::ops::Range;
use std::sync::Arc;

use crate::backend::Backend;
use crate::check;
use crate::{
    Engine, EngineRow, EngineSpec, Error, Form, Opened, Result, RowFeed, Scores, Session, Source, TokenId,
    Vocab,
};

/// Makes a source of a function from all tokens so far to the logits of the next one, [`Vocab::width`] of them.
///
/// The function is called for each position that is scored, and its sessions keep nothing but the tokens. The logits
/// are computed on the host and uploaded to `backend`. So this suits toys, tests, n-gram models and remote services;
/// for a model whose logits are on a device already, implement [`Engine`].
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
///
/// let source = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_tokens| Ok(vec![0.0, 1.0]));
/// assert!((source.score([0], &[1])?.total - (1f64.exp() / (1.0 + 1f64.exp())).ln()).abs() < 1e-6);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub fn from_fn<B: Backend>(
    backend: B,
    vocab: impl Into<Arc<Vocab>>,
    f: impl Fn(&[TokenId]) -> Result<Vec<f32>> + Send + Sync + 'static,
) -> Source<B> {
    let vocab = vocab.into();
    let name = vocab.name().to_string();
    Source::new(FnEngine::new(EngineSpec::new(name, backend, vocab), move |row| f(&row.tokens)))
}

/// Makes a source of a black box that reports the log-probabilities of a few tokens only, such as the top 20 of an API.
/// (For one that returns sampled text and no log-probabilities, see [`search::BlackBox`](crate::search::BlackBox).)
///
/// A combination with such a source is computed on the tokens that every term knows, and
/// [`Scores::known_mass`] reports how much probability the black box gives them. Log-probabilities are natural
/// logarithms.
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

/// An [`Engine`] made of a function, as [`from_fn`] makes one, for models that also have adapters or a limited context.
///
/// ```
/// use eft_core::{EngineSpec, FnEngine, Host, Source, Vocab};
///
/// let spec = EngineSpec::new("ab", Host, Vocab::new("ab", ["a", "b"])?).context(8).adapters(["b"]);
/// let engine = FnEngine::new(spec, |row| Ok(if row.adapter.is_some() { vec![0.0, 9.0] } else { vec![9.0, 0.0] }));
/// let base = Source::new(engine);
/// let tuned = base.adapter("b")?;
/// let first = |source: &Source<Host>| source.generate([0], eft_core::Sampling::greedy())?.next().unwrap();
/// assert_eq!((first(&base)?.id, first(&tuned)?.id), (0, 1));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[must_use]
pub struct FnEngine<B: Backend> {
    shared: Arc<Shared<B>>,
    form: Form,
}

type Function = dyn Fn(&EngineRow) -> Result<Vec<f32>> + Send + Sync;

struct Shared<B: Backend> {
    spec: EngineSpec<B>,
    f: Box<Function>,
}

impl<B: Backend> FnEngine<B> {
    /// Makes an engine of a function from a row to the logits of its next token, [`Vocab::width`] of them.
    pub fn new(
        spec: EngineSpec<B>,
        f: impl Fn(&EngineRow) -> Result<Vec<f32>> + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::new(Shared { spec, f: Box::new(f) }), form: Form::Logits }
    }

    /// Sets the form of the function's scores; the default is [`Form::Logits`]. Sessions that are open already keep the
    /// form they were opened with.
    pub fn form(self, form: Form) -> Self {
        Self { form, ..self }
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
        let scores = self.shared.score(rows, &wanted, self.form)?;
        let session = FnSession { shared: self.shared.clone(), form: self.form, rows: rows.to_vec() };
        Ok((Box::new(session), scores))
    }
}

impl<B: Backend> Shared<B> {
    /// Scores the prefixes of each row whose lengths are wanted.
    fn score(&self, rows: &[EngineRow], wanted: &[Range<usize>], form: Form) -> Result<Scores<B>> {
        let width = self.spec.vocab.width();
        let score = |(index, (row, lengths)): (usize, (&EngineRow, &Range<usize>))| {
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
        Scores::upload(&self.spec.backend, &scores, width, form)
    }
}

struct FnSession<B: Backend> {
    shared: Arc<Shared<B>>,
    form: Form,
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

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        let spec = &self.shared.spec;
        spec.check_feeds(feeds, &self.room())?;
        let mut rows = self.rows.clone();
        let mut wanted = Vec::new();
        for (row, feed) in rows.iter_mut().zip(feeds) {
            row.tokens.extend(&feed.tokens);
            let end = row.tokens.len() + 1;
            wanted.push(end - feed.wanted..end);
        }
        let scores = self.shared.score(&rows, &wanted, self.form)?;
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
