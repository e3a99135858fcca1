//! [`GraphEngine`]: a graph as an engine of `eft-core`.
use std::sync::Arc;

use eft_core::{Engine, EngineRow, EngineSpec, Opened, RowFeed, Session, TokenId, Vocab};

use super::Graph;
use super::block::Way;
use super::cached::CachedSession;
use super::probe::{Probed, probe};
use super::recomputed::RecomputedSession;

/// What a graph does not tell of its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For messages, and for formulas of combined models.
    pub name: String,
    /// Tokens a row can hold, prompt included; `None` without a limit.
    pub context: Option<usize>,
    /// Ids that end a text, for a vocabulary that is made up.
    pub eos: Vec<TokenId>,
    /// Bytes that one forward pass reads; 0 where unknown.
    pub bytes: u64,
    /// Whether some layers see the last few tokens only.
    pub slides: bool,
    /// Tokens of one forward pass at most, over all rows: longer prompts are read in pieces, which bounds the memory
    /// that activations and logits take.
    pub pass: usize,
}

impl Settings {
    /// A model of this name, of which nothing else is known; 256 tokens a pass.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), context: None, eos: Vec::new(), bytes: 0, slides: false, pass: 256 }
    }
}

/// Why a graph is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Its caches do not do what caches are for.
    #[error("the model {problem}")]
    Cache {
        /// What was found when it was tried out.
        problem: String,
    },
    /// A failure of the graph, or a vocabulary that does not fit it.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}

/// A decoder, shared by all sessions over it.
pub struct GraphEngine<G: Graph> {
    spec: EngineSpec<G::Backend>,
    graph: Arc<G>,
    way: Way,
}

impl<G: Graph> GraphEngine<G> {
    /// Tries out what the graph's cache can do. Without a vocabulary, one of unknown tokens under the model's name is
    /// made up, which relates to itself only.
    ///
    /// # Errors
    /// [`GraphError::Cache`]; [`GraphError::Core`] for a failure of the graph, or a vocabulary of another width.
    pub fn new(graph: G, settings: Settings, vocab: Option<Arc<Vocab>>) -> Result<Self, GraphError> {
        let Probed { width, way } = probe(&graph, &settings)?;
        let Settings { name, context, eos, bytes, .. } = settings;
        let made_up = Vocab::anonymous(&name, width)?.with_eos(eos)?;
        let mut spec = EngineSpec::new(name, graph.backend().clone(), made_up).bytes(bytes);
        spec.context = context;
        let engine = Self { spec, graph: Arc::new(graph), way };
        match vocab {
            Some(vocab) => Ok(engine.with_vocab(vocab)?),
            None => Ok(engine),
        }
    }

    /// Under another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.spec.name = name.into();
        self
    }

    /// With this vocabulary, in which ids mean what the caller says they do.
    ///
    /// # Errors
    /// [`Error::Shape`](eft_core::Error::Shape) for one of another width than the model's logits.
    pub fn with_vocab(mut self, vocab: impl Into<Arc<Vocab>>) -> eft_core::Result<Self> {
        let (vocab, width) = (vocab.into(), self.spec.vocab.width());
        if vocab.width() != width {
            let what = format!("rows of the vocabulary `{}` for `{}`", vocab.name(), self.spec.name);
            return Err(eft_core::Error::shape(what, width, vocab.width()));
        }
        self.spec.vocab = vocab;
        Ok(self)
    }

    /// Whether rows of different length run in one pass, or each in its own.
    pub fn runs_rows_together(&self) -> bool {
        let traits = self.graph.caps();
        if traits.cached { self.way.holes } else { !traits.one_row }
    }

    fn session(&self, rows: usize) -> Box<dyn Session<Backend = G::Backend>> {
        let (graph, spec) = (self.graph.clone(), self.spec.clone());
        match graph.caps().cached {
            true => Box::new(CachedSession::new(graph, spec, self.way, rows)),
            false => Box::new(RecomputedSession::new(graph, spec, rows)),
        }
    }
}

impl<G: Graph> Engine for GraphEngine<G> {
    type Backend = G::Backend;

    fn spec(&self) -> &EngineSpec<G::Backend> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> eft_core::Result<Opened<G::Backend>> {
        self.spec.check(rows)?;
        let mut session = self.session(rows.len());
        let feed: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&feed)?;
        Ok((session, scores))
    }
}
