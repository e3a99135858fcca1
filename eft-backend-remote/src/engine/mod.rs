//! [`RemoteEngine`]: a model on a server, as an engine.
mod asker;
mod session;

use std::sync::Arc;

use eft_core::{
    Backend, Engine, EngineRow, EngineSpec, Form, Opened, Result as CoreResult, RowFeed, TokenId, Vocab,
};

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::http::Traffic;
use crate::kind::{IdsByBytes, Question};
use crate::rows::Rows;
use crate::server::{MODELS, Server};
use crate::told::{Told, Wanted};
pub(crate) use asker::Asker;
use session::RemoteSession;

/// The largest vocabulary whose whole rows are asked for by default.
const WHOLE_BY_DEFAULT: usize = 8192;

/// How many of the likeliest tokens are asked for by default: vLLM's own limit unless it is started with another.
const TOP_BY_DEFAULT: usize = 20;

/// The most prompts of one request. Each position to be scored is one.
const PROMPTS: usize = 32;

/// A model on a server, as an [`Engine`]. Made by [`Server::engine`]. Clones share it.
///
/// A session keeps nothing but token ids, so rolling back and forking cost nothing. Each pass sends the whole tokens of
/// a row, which the server's own prefix cache makes cheap. The positions of one row are scored by one request (a prompt
/// each, at most 32), and the rows of a batch by requests that run at the same time.
///
/// If the request of a row fails, the answers for the other rows are kept: repeating the call asks for the failed row
/// only.
///
/// ```no_run
/// use eft_backend_remote::Remote;
/// use eft_core::{Host, Sampling, Source, Vocab};
///
/// # fn vocab() -> eft_core::Result<Vocab> { Vocab::new("ab", ["a", "b"]) }
/// # fn pair() -> (Source<Host>, Source<Host>) { unreachable!() }
/// let server = Remote::connect("http://127.0.0.1:8080")?;
/// let engine = server.engine(Host, vocab()?)?;
/// let large = Source::new(engine.clone());
/// let (tuned, small) = pair();
/// for token in (&large + (&tuned - &small)).generate([1, 5], Sampling::greedy())? {
///     println!("{}", token?.id);
/// }
/// println!("{} bytes were received", engine.traffic().received);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[must_use]
pub struct RemoteEngine<B: Backend> {
    shared: Arc<Shared<B>>,
}

struct Shared<B: Backend> {
    server: Server,
    spec: EngineSpec<B>,
    rows: Rows,
    ids: IdsByBytes,
}

impl Server {
    /// Makes an engine of the server's model, whose scores are uploaded to `backend`.
    ///
    /// # Errors
    /// * [`Error::Answer`] if the server scores fewer tokens than the vocabulary has.
    /// * [`Error::Core`] if the vocabulary cannot be as wide as the server's score rows.
    pub fn engine<B: Backend>(&self, backend: B, vocab: impl Into<Arc<Vocab>>) -> Result<RemoteEngine<B>> {
        let vocab = vocab.into();
        if let Some(size) = self.vocab_size().filter(|size| *size < vocab.real()) {
            let reason =
                format!("its model scores {size} tokens, but the vocabulary here has {}", vocab.real());
            return Err(self.client.wrong(MODELS, reason));
        }
        let whole = self.kind().tells_whole_rows() && vocab.real() <= WHOLE_BY_DEFAULT;
        let by_default = if whole { Rows::Whole } else { Rows::Top(TOP_BY_DEFAULT) };
        let rows = match self.rows.unwrap_or(by_default) {
            // All tokens at once need no order.
            Rows::Top(k) if k >= vocab.real() && self.kind().tells_whole_rows() => Rows::Whole,
            rows => rows,
        };
        Ok(RemoteEngine::new(self.clone(), backend, vocab, rows))
    }
}

impl<B: Backend> RemoteEngine<B> {
    fn new(server: Server, backend: B, vocab: Arc<Vocab>, rows: Rows) -> Self {
        let spec = EngineSpec::new(vocab.name(), backend, vocab.clone());
        let spec = match server.context() {
            Some(context) => spec.context(context),
            None => spec,
        };
        Self { shared: Arc::new(Shared { server, spec, rows, ids: IdsByBytes::default() }) }
    }

    /// Returns the server.
    pub fn server(&self) -> &Server {
        &self.shared.server
    }

    /// Returns what has been exchanged with the server so far, by this and other engines of the same connection.
    pub fn traffic(&self) -> Traffic {
        self.shared.server.traffic()
    }

    /// What is asked about each position.
    pub(crate) fn wanted(&self) -> Wanted<'static> {
        match self.shared.rows {
            Rows::Whole => Wanted::Whole,
            Rows::Top(k) => Wanted::Top(k.min(self.spec().vocab.real())),
        }
    }

    /// The meaning of the score rows.
    pub(crate) fn form(&self) -> Form {
        match self.shared.rows {
            Rows::Whole => Form::LogProbs,
            Rows::Top(_) => Form::Partial,
        }
    }

    /// Asks for the log-probs after the last `positions` tokens of a row, one position for each.
    pub(crate) fn ask(&self, tokens: &[TokenId], positions: usize, wanted: Wanted<'_>) -> Result<Vec<Told>> {
        let Shared { server, spec, ids, .. } = &*self.shared;
        let prompts: Vec<_> =
            (tokens.len() + 1 - positions..=tokens.len()).map(|end| &tokens[..end]).collect();
        let mut told = Vec::new();
        for prompts in prompts.chunks(PROMPTS) {
            let question = Question { model: server.model(), prompts, wanted, vocab: &spec.vocab, ids };
            let (path, body) = server.kind().request(&question);
            let answer = server.client.post(path, &body)?;
            server.check_model(path, server.kind().model(&answer))?;
            let read = server.kind().read(&answer, &question);
            told.extend(read.map_err(|reason| server.client.wrong(path, reason))?);
        }
        server.client.counters().scored(positions);
        Ok(told)
    }
}

impl<B: Backend> Engine for RemoteEngine<B> {
    type Backend = B;

    fn spec(&self) -> &EngineSpec<B> {
        &self.shared.spec
    }

    fn open(&self, rows: &[EngineRow]) -> CoreResult<Opened<B>> {
        self.spec().check(rows)?;
        let mut session = RemoteSession::new(self.clone(), rows.len());
        let prompts: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = eft_core::Session::extend(&mut session, &prompts)?;
        Ok((Box::new(session), scores))
    }
}

impl<B: Backend> Clone for RemoteEngine<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<B: Backend> std::fmt::Debug for RemoteEngine<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteEngine").field("server", &self.shared.server).finish_non_exhaustive()
    }
}
