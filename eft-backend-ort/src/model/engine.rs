//! [`OnnxEngine`]: an ONNX model as an engine of `eft-core`.
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

/// A decoder in an ONNX file, as an [`Engine`]. All sessions over it share the weights.
///
/// [`load`](crate::load()) makes a source of one in a single call.
///
/// ```no_run
/// use eft_backend_ort::{OnnxEngine, Ort};
/// use eft_core::{Sampling, Source};
///
/// let engine = OnnxEngine::load("SmolLM2-135M-ONNX", &Ort::cpu()?, None)?.named("small");
/// let together = engine.runs_rows_together();
/// let model = Source::new(engine);
/// let texts = model.generate([1, 5, 9], Sampling::greedy())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OnnxEngine {
    engine: GraphEngine<Decoder>,
    folders: Vec<PathBuf>,
}

impl OnnxEngine {
    /// Loads a model, a `.onnx` file or a folder, and tests with a few tokens what its cache supports.
    ///
    /// Without a vocabulary the engine gets an anonymous one, named after the model, that matches no other.
    ///
    /// # Errors
    /// * [`Error::Io`] if a file or folder cannot be read.
    /// * [`Error::NoModel`] if the folder holds no model at any of the [usual paths](crate::model::usual_paths).
    /// * [`Error::Config`] if a configuration is not valid JSON or holds a field of the wrong type.
    /// * [`Error::BadModel`] if ONNX Runtime rejects the model.
    /// * [`Error::Interface`] if its inputs or outputs are not those of a decoder.
    /// * [`Error::Cache`] if its logits with a cache differ from those without.
    /// * [`Error::Core`] if the vocabulary and the logits differ in width.
    /// * [`Error::Ort`] if ONNX Runtime fails.
    pub fn load(path: impl AsRef<Path>, ort: &Ort, vocab: Option<Arc<Vocab>>) -> Result<Self> {
        let files = Files::find(path.as_ref())?;
        let config = Config::read(&files)?;
        let bad_model = |source| Error::BadModel { file: files.model.clone(), source };
        let session = || {
            let builder = ort.builder()?.with_optimization_level(ort.options().optimization)?;
            // A memory plan is made for the sizes of one pass, and they change with every pass.
            builder.with_memory_pattern(false)?.commit_from_file(&files.model)
        };
        let session = session().map_err(bad_model)?;
        let interface = Interface::of(&session, &files.model)?;
        let gather = Gather::new(ort, &interface.caches)?;
        let file = files.model.clone();
        let decoder = Decoder { file, ort: ort.clone(), runner: Runner::new(session), interface, gather };
        let settings = GraphSettings::new(files.name.clone())
            .context(config.context)
            .eos(config.eos)
            .bytes(files.bytes()?)
            .sliding_window(config.sliding_window)
            .max_tokens(ort.options().max_pass_tokens);
        let engine = GraphEngine::new(decoder, settings, vocab).map_err(|error| match error {
            GraphError::Core(error) => Error::Core(error),
            error => Error::Cache { file: files.model, source: Box::new(error) },
        })?;
        Ok(Self { engine, folders: files.folders })
    }

    /// Renames the model, in formulas and messages.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { engine: self.engine.named(name), ..self }
    }

    /// Replaces the vocabulary. The caller is responsible for the meaning of its ids.
    ///
    /// # Errors
    /// * [`Error::Core`] if its width is not that of the model's logits.
    pub fn with_vocab(self, vocab: impl Into<Arc<Vocab>>) -> Result<Self> {
        Ok(Self { engine: self.engine.with_vocab(vocab)?, ..self })
    }

    /// Returns the folders that may hold the model's configurations and tokenizer, nearest first.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Returns what may be wrong with the model, as sentences; empty if nothing was found. Show them to the user:
    /// nothing is printed.
    pub fn warnings(&self) -> &[String] {
        self.engine.warnings()
    }

    /// Returns whether rows of different length run in one pass; if not, each row runs in a separate pass.
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
