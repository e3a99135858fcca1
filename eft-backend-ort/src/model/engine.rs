//! [`OnnxEngine`]: a model as an engine of `eft-core`.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::{Engine, EngineRow, EngineSpec, Opened, Vocab};
use eft_models::graph::{GraphEngine, GraphError, GraphSettings};

use super::config::Config;
use super::decoder::Decoder;
use super::files::Files;
use super::gather::Gather;
use super::interface::Interface;
use crate::backend::runner::Runner;
use crate::{Error, Ort, Result};

/// A decoder, shared by all sessions over it.
pub struct OnnxEngine {
    engine: GraphEngine<Decoder>,
    folders: Vec<PathBuf>,
}

impl OnnxEngine {
    /// Loads a model, and tries out what its cache can do. Without a vocabulary, one of unknown tokens under the
    /// name of the folder or file is made up, which relates to itself only.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoModel`] or [`Error::Config`] for what is not there or cannot be read;
    /// [`Error::BadModel`] for what ONNX Runtime refuses; [`Error::Interface`] for what is no decoder;
    /// [`Error::Cache`] for one whose cache does not work; [`Error::Core`] for a vocabulary of another width.
    pub fn load(path: impl AsRef<Path>, ort: &Ort, vocab: Option<Arc<Vocab>>) -> Result<Self> {
        let files = Files::find(path.as_ref())?;
        let config = Config::read(&files)?;
        let refused = |source| Error::BadModel { file: files.model.clone(), source };
        let session = || {
            let builder = ort.builder()?.with_optimization_level(ort.options().optimization)?;
            // Sizes change with every pass, so what is planned for one is of no use for the next.
            builder.with_memory_pattern(false)?.commit_from_file(&files.model)
        };
        let session = session().map_err(refused)?;
        let interface = Interface::of(&session, &files.model)?;
        let gather = Gather::new(ort, &interface.caches)?;
        let file = files.model.clone();
        let decoder = Decoder { file, ort: ort.clone(), runner: Runner::new(session), interface, gather };
        let settings = GraphSettings::new(files.name.clone())
            .context(config.context)
            .eos(config.eos)
            .bytes(files.bytes()?)
            .sliding_window(config.slides)
            .max_tokens(ort.options().pass);
        let engine = GraphEngine::new(decoder, settings, vocab).map_err(|error| match error {
            GraphError::Core(error) => Error::Core(error),
            error => Error::Cache { file: files.model, problem: error.to_string() },
        })?;
        Ok(Self { engine, folders: files.folders })
    }

    /// Under another name than the folder's or file's.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { engine: self.engine.named(name), ..self }
    }

    /// With this vocabulary, in which ids mean what the caller says they do.
    ///
    /// # Errors
    /// [`Error::Core`] if it is as wide as the model's logits are not.
    pub fn with_vocab(self, vocab: impl Into<Arc<Vocab>>) -> Result<Self> {
        Ok(Self { engine: self.engine.with_vocab(vocab)?, ..self })
    }

    /// The folders that may hold what belongs to the model (configurations, a tokenizer), nearest first.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Whether rows of different length run in one pass, or each in its own.
    pub fn runs_rows_together(&self) -> bool {
        self.engine.runs_rows_together()
    }
}

impl Engine for OnnxEngine {
    type Backend = Ort;

    fn spec(&self) -> &EngineSpec<Ort> {
        self.engine.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> eft_core::Result<Opened<Ort>> {
        self.engine.open(rows)
    }
}
