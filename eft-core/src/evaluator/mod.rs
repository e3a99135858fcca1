//! [`Evaluator`]: several expressions over one set of sessions, evaluated lazily.
//!
//! A session of a combination hides its terms, but a draft, a guide and an attribution need them: the draft of a
//! speculative decoder is a term of its target, and the guide of a search scores what the base has proposed. A
//! evaluator holds one session for each engine, and evaluates any of its roots at any positions, running only what is
//! missing. It is the one primitive under generation, scoring and attribution, and public for loops of one's own.
//!
//! Position `p` of a row is the distribution of the token that follows the prompt and `p` more tokens.
//!
//! ```
//! use eft_core::{from_fn, Backend, Host, Evaluator, Vocab};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let model = |name: &str, logits: [f32; 2]| {
//!     from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).named(name)
//! };
//! let (base, tuned, untuned) = (model("base", [1.0, 0.0]), model("tuned", [0.0, 3.0]), model("untuned", [0.0, 1.0]));
//! let target = &base + (&tuned - &untuned);
//!
//! // The tuned model drafts two tokens …
//! let mut evaluator = Evaluator::open(&[&target, &tuned], &[vec![0].into()])?;
//! for _ in 0..2 {
//!     let scores = evaluator.eval_last(1)?;
//!     let pick = Host.argmax(&scores.last()?, scores.width())?[0];
//!     evaluator.push(&[vec![pick.token]])?;
//! }
//! // … and the target scores the three positions in one pass of each of its other terms.
//! let scores = evaluator.eval_from(0, &[0])?;
//! assert_eq!(scores.positions(0).len(), 3);
//! # Ok::<(), eft_core::Error>(())
//! ```
pub(crate) mod diagnose;
mod eval;
mod open;
mod plan;
mod reopen;
mod run;
mod session;
mod store;

pub use eval::TermLogProbs;
pub use session::EvaluatorSession;

use std::ops::Range;
use std::sync::Arc;

use crate::backend::Backend;
use crate::check;
use crate::{Error, Prompt, Result, Session, Source, TokenId, Vocab};
use plan::{Origin, Root, Rows};
use store::ScoreStore;

/// How sessions are opened and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Run the passes of different engines in threads of their own: for terms on different devices. On one device
    /// they would only fight over it.
    pub parallel: bool,
    /// Keep running terms that cancel, so that an attribution can speak of every term as it was written.
    pub every_term: bool,
}

/// Several expressions over one set of sessions. See the [module](self).
pub struct Evaluator<B: Backend> {
    backend: B,
    sources: Vec<Source<B>>,
    options: OpenOptions,
    roots: Vec<Root<B>>,
    streams: Vec<Stream<B>>,
    sessions: Vec<Running<B>>,
    /// Tokens after the prompt, for each row, fed or not.
    pushed: Vec<Vec<TokenId>>,
    /// The failure that left the sessions out of step.
    poison: Option<String>,
}

/// A model on the rows of the batch: a block of rows of some session.
struct Stream<B: Backend> {
    name: String,
    origin: Origin<B>,
    prompts: Rows,
    session: usize,
    /// Its rows are `block·n .. (block + 1)·n` of the session's, for a batch of `n`.
    block: usize,
    /// How many of the pushed tokens each row has been fed.
    fed: Vec<usize>,
    scores: ScoreStore<B>,
}

/// An open session and the streams that are blocks of its rows, in order.
struct Running<B: Backend> {
    session: Box<dyn Session<Backend = B>>,
    streams: Vec<usize>,
}

impl<B: Backend> Evaluator<B> {
    /// Opens the models of all roots on the prompts. Leaves of one engine run in one session, and leaves that are
    /// the same in weights, adapter and token ids are one.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::EmptyPrompt`], [`Error::CannotRender`], [`Error::InvalidWeight`],
    /// [`Error::NothingLeft`], [`Error::VocabMismatch`], [`Error::ContextFull`], and failures of the models.
    pub fn open(roots: &[&Source<B>], prompts: &[Prompt]) -> Result<Self> {
        Self::open_with(roots, prompts, OpenOptions::default())
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.pushed.len()
    }

    /// The tokens pushed since the prompt.
    ///
    /// # Panics
    /// Past the batch, as indexing does.
    pub fn pushed(&self, row: usize) -> &[TokenId] {
        &self.pushed[row]
    }

    /// The tensor library that the roots are computed with.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The name of a root.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a root there is not.
    pub fn name(&self, root: usize) -> Result<&str> {
        Ok(&self.root(root)?.name)
    }

    /// How many tokens a root has scores for: those all its terms share.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a root there is not.
    pub fn width(&self, root: usize) -> Result<usize> {
        Ok(self.root(root)?.common.width)
    }

    /// The vocabularies of the models that a root runs.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a root there is not.
    pub fn vocabs(&self, root: usize) -> Result<&[Arc<Vocab>]> {
        Ok(&self.root(root)?.vocabs)
    }

    /// The token ids of a row's prompt, as the model of this name renders it.
    ///
    /// # Errors
    /// [`Error::Unknown`] without a model of this name, [`Error::RowOutOfRange`] past the batch,
    /// [`Error::Unsupported`] for an opaque source on a prompt that is no token ids.
    pub fn prompt_tokens(&self, term: &str, row: usize) -> Result<&[TokenId]> {
        let Some(stream) = self.named_stream(term) else {
            let known = self.streams.iter().map(|s| &s.name[..]).collect::<Vec<_>>().join(", ");
            return Err(Error::Unknown { kind: "term", name: term.into(), known });
        };
        let past = Error::RowOutOfRange { what: "prompt", row, rows: self.rows() };
        match &stream.prompts {
            Rows::Ids(rows) => rows.get(row).map(Vec::as_slice).ok_or(past),
            Rows::Prompts(rows) => match rows.get(row) {
                Some(Prompt::Tokens(tokens)) => Ok(tokens),
                Some(_) => {
                    Err(Error::Unsupported { who: term.into(), what: "telling the ids of its prompt".into() })
                }
                None => Err(past),
            },
        }
    }

    /// A stream by its own name, or by that of a term of some root that is this very stream.
    fn named_stream(&self, term: &str) -> Option<&Stream<B>> {
        let written = self.roots.iter().flat_map(|r| &r.written).find(|w| w.name == term);
        match written.map(|w| &w.expr) {
            Some(plan::Expr::Stream(stream)) => self.streams.get(*stream),
            _ => self.streams.iter().find(|s| s.name == term),
        }
    }

    /// How many more tokens can be pushed to each row before some model's context is full; `usize::MAX` without a
    /// limit.
    pub fn room(&self) -> Vec<usize> {
        self.room_of(|_| true)
    }

    /// The same, of the models that a root runs.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a root there is not.
    pub fn room_for(&self, root: usize) -> Result<Vec<usize>> {
        let root = self.root(root)?;
        let mut streams = root.expr.streams();
        if self.options.every_term {
            streams.extend(root.written.iter().flat_map(|w| w.expr.streams()));
        }
        Ok(self.room_of(|stream| streams.contains(&stream)))
    }

    fn room_of(&self, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let rows = self.rows();
        let mut room = vec![usize::MAX; rows];
        for (running, of_session) in self.sessions.iter().map(|r| (r, r.session.room())) {
            for stream in running.streams.iter().filter(|s| counts(**s)).map(|s| &self.streams[*s]) {
                for (row, room) in room.iter_mut().enumerate() {
                    // What was pushed and not yet fed is as good as fed.
                    let pending = self.pushed[row].len() - stream.fed[row];
                    let left = of_session.get(stream.block * rows + row).copied().unwrap_or(0);
                    *room = (*room).min(left.saturating_sub(if left == usize::MAX { 0 } else { pending }));
                }
            }
        }
        room
    }

    /// Records tokens for each row; computes nothing. They are fed when a root is evaluated behind them.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a list for each row, [`Error::TokenOutOfRange`] for a token that some model
    /// does not have. Nothing is recorded then.
    pub fn push(&mut self, tokens: &[Vec<TokenId>]) -> Result<()> {
        self.healthy()?;
        check::per_row("tokens to push", self.rows(), tokens.len())?;
        for (row, tokens) in tokens.iter().enumerate() {
            for stream in &self.streams {
                check::within(&stream.name, row, tokens, stream.origin.vocab().width())?;
            }
        }
        for (pushed, tokens) in self.pushed.iter_mut().zip(tokens) {
            pushed.extend(tokens);
        }
        Ok(())
    }

    /// Drops that many pushed tokens from the end of each row, fed or not, as if they had never been pushed.
    ///
    /// # Errors
    /// [`Error::RollbackTooFar`] past the prompt; nothing is dropped then. A failure of a model poisons the evaluator.
    pub fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        check::rollback(drop, &self.pushed.iter().map(Vec::len).collect::<Vec<_>>())?;
        let rows = self.rows();
        let lengths: Vec<_> = self.pushed.iter().zip(drop).map(|(p, d)| p.len() - d).collect();
        for running in &mut self.sessions {
            let mut of_session = vec![0; rows * running.streams.len()];
            for &stream in &running.streams {
                let stream = &self.streams[stream];
                for (row, length) in lengths.iter().enumerate() {
                    of_session[stream.block * rows + row] = stream.fed[row].saturating_sub(*length);
                }
            }
            if of_session.iter().all(|d| *d == 0) {
                continue;
            }
            if let Err(error) = running.session.rollback(&of_session) {
                self.poison = Some(crate::error::with_sources(&error));
                return Err(error);
            }
        }
        for stream in &mut self.streams {
            stream.fed.iter_mut().zip(&lengths).for_each(|(fed, length)| *fed = (*fed).min(*length));
            stream.scores.truncate(lengths.iter().copied());
        }
        self.pushed.iter_mut().zip(lengths).for_each(|(pushed, length)| pushed.truncate(length));
        Ok(())
    }

    /// Makes row `i` what row `rows[i]` was: forks, prunes and reorders.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::RowOutOfRange`]; nothing is changed then. A failure of a model poisons the
    /// evaluator.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        let old = self.rows();
        check::select(rows, old)?;
        for running in &mut self.sessions {
            let blocks = 0..running.streams.len();
            let of_session: Vec<_> = blocks.flat_map(|b| rows.iter().map(move |row| b * old + row)).collect();
            if let Err(error) = running.session.select(&of_session) {
                self.poison = Some(crate::error::with_sources(&error));
                return Err(error);
            }
        }
        for stream in &mut self.streams {
            stream.fed = rows.iter().map(|row| stream.fed[*row]).collect();
            stream.scores.select(rows);
            stream.prompts.select(rows);
        }
        self.pushed = rows.iter().map(|row| self.pushed[*row].clone()).collect();
        Ok(())
    }

    /// Forgets all scores but the last of each row: a decoding loop that looks back no further keeps its memory
    /// small by it.
    pub fn commit(&mut self) {
        self.streams.iter_mut().for_each(|s| s.scores.keep_last());
    }

    fn root(&self, root: usize) -> Result<&Root<B>> {
        self.roots.get(root).ok_or_else(|| {
            let known = (0..self.roots.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
            Error::Unknown { kind: "root", name: root.to_string(), known }
        })
    }

    /// The last position of every row.
    fn last_positions(&self) -> Vec<Range<usize>> {
        self.pushed.iter().map(|p| p.len()..p.len() + 1).collect()
    }

    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

impl Rows {
    fn select(&mut self, rows: &[usize]) {
        match self {
            Self::Ids(ids) => *ids = rows.iter().map(|row| ids[*row].clone()).collect(),
            Self::Prompts(prompts) => *prompts = rows.iter().map(|row| prompts[*row].clone()).collect(),
        }
    }
}

impl<B: Backend> std::fmt::Debug for Evaluator<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator")
            .field("roots", &self.sources)
            .field("rows", &self.rows())
            .field("streams", &self.streams.iter().map(|s| &s.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
