//! [`GraphEngine`]: a graph as an [`Engine`] of `eft-core`.
use std::sync::Arc;

use eft_core::{Engine, EngineRow, EngineSpec, Opened, RowFeed, Session, Vocab};

use super::cached::CachedSession;
use super::error::GraphError;
use super::interface::Graph;
use super::plan::CachePlan;
use super::probe::{Probed, probe};
use super::settings::GraphSettings;
use super::uncached::UncachedSession;

/// A graph as an engine, shared by all sessions over it. See the [module](crate::graph) for an example.
pub struct GraphEngine<G: Graph> {
    spec: EngineSpec<G::Backend>,
    graph: Arc<G>,
    plan: CachePlan,
    warnings: Vec<String>,
}

impl<G: Graph> GraphEngine<G> {
    /// Makes an engine of a graph, after a few passes that test its caches. Without a `vocab`, the engine gets an
    /// anonymous one, named after the model; such a model can only be combined with itself.
    ///
    /// # Errors
    /// * [`GraphError::NotFinite`] if the logits are NaN or infinite.
    /// * [`GraphError::NotCausal`] if the logits at a position depend on the tokens after it.
    /// * [`GraphError::Cache`] if logits over the cache are not those of the same tokens in one pass.
    /// * [`GraphError::Core`] if the graph fails, or if the vocabulary's width is not that of the logits.
    pub fn new(graph: G, settings: GraphSettings, vocab: Option<Arc<Vocab>>) -> Result<Self, GraphError> {
        let Probed { width, plan, warning } = probe(&graph, &settings)?;
        let GraphSettings { name, context, eos, bytes, .. } = settings;
        let eos = eos.into_iter().filter(|id| (*id as usize) < width);
        let made_up = Vocab::anonymous(&name, width)?.with_eos(eos)?;
        let mut spec = EngineSpec::new(name, graph.backend().clone(), made_up).bytes(bytes);
        spec.context = context;
        let warnings = warning.into_iter().collect();
        let engine = Self { spec, graph: Arc::new(graph), plan, warnings };
        match vocab {
            Some(vocab) => Ok(engine.with_vocab(vocab)?),
            None => Ok(engine),
        }
    }

    /// Returns what may be wrong with the model, as sentences; empty if nothing was found. Show them to the user:
    /// nothing is printed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Renames the model.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.spec.name = name.into();
        self
    }

    /// Replaces the vocabulary. The caller is responsible for the meaning of its ids.
    ///
    /// # Errors
    /// [`Error::Shape`](eft_core::Error::Shape) if its width is not that of the model's logits.
    pub fn with_vocab(mut self, vocab: impl Into<Arc<Vocab>>) -> eft_core::Result<Self> {
        let (vocab, width) = (vocab.into(), self.spec.vocab.width());
        if vocab.width() != width {
            let what = format!("rows of the vocabulary `{}` for `{}`", vocab.name(), self.spec.name);
            return Err(eft_core::Error::shape(what, width, vocab.width()));
        }
        self.spec.vocab = vocab;
        Ok(self)
    }

    /// Returns whether rows of different length run in one pass; if not, each row runs in a separate pass.
    pub fn runs_rows_together(&self) -> bool {
        let caps = self.graph.caps();
        if caps.cached { self.plan.masked_slots } else { !caps.one_row }
    }

    fn session(&self, rows: usize) -> Box<dyn Session<Backend = G::Backend>> {
        let (graph, spec) = (self.graph.clone(), self.spec.clone());
        match graph.caps().cached {
            true => Box::new(CachedSession::new(graph, spec, self.plan, rows)),
            false => Box::new(UncachedSession::new(graph, spec, rows)),
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
