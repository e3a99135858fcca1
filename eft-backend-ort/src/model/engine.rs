//! [`OnnxEngine`]: a model as an engine of `eft-core`.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::{Engine, EngineRow, EngineSpec, Opened, RowFeed, Session, Vocab};

use super::block::Way;
use super::cached::CachedSession;
use super::config::Config;
use super::decoder::Decoder;
use super::files::Files;
use super::gather::Gather;
use super::interface::Interface;
use super::probe::{Probed, probe};
use super::recomputed::RecomputedSession;
use crate::backend::runner::Runner;
use crate::{Error, Ort, Result};

/// A decoder, shared by all sessions over it.
pub struct OnnxEngine {
    spec: EngineSpec<Ort>,
    decoder: Arc<Decoder>,
    way: Way,
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
        let Probed { width, way } = probe(&decoder, &config)?;
        let made_up = Vocab::anonymous(&files.name, width)?.with_eos(config.eos)?;
        let mut spec = EngineSpec::new(&files.name, ort.clone(), made_up).bytes(files.bytes()?);
        spec.context = config.context;
        let engine = Self { spec, decoder: Arc::new(decoder), way, folders: files.folders };
        match vocab {
            Some(vocab) => engine.with_vocab(vocab),
            None => Ok(engine),
        }
    }

    /// Under another name than the folder's or file's.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.spec.name = name.into();
        self
    }

    /// With this vocabulary, in which ids mean what the caller says they do.
    ///
    /// # Errors
    /// [`Error::Core`] if it is as wide as the model's logits are not.
    pub fn with_vocab(mut self, vocab: impl Into<Arc<Vocab>>) -> Result<Self> {
        let (vocab, width) = (vocab.into(), self.spec.vocab.width());
        if vocab.width() != width {
            let what = format!("rows of the vocabulary `{}` for `{}`", vocab.name(), self.spec.name);
            return Err(eft_core::Error::shape(what, width, vocab.width()).into());
        }
        self.spec.vocab = vocab;
        Ok(self)
    }

    /// The folders that may hold what belongs to the model (configurations, a tokenizer), nearest first.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Whether rows of different length run in one pass, or each in its own.
    pub fn runs_rows_together(&self) -> bool {
        match self.decoder.interface.caches.is_empty() {
            true => !self.decoder.interface.one_row,
            false => self.way.holes,
        }
    }

    fn session(&self, rows: usize) -> Box<dyn Session<Backend = Ort>> {
        let (decoder, spec) = (self.decoder.clone(), self.spec.clone());
        match decoder.interface.caches.is_empty() {
            true => Box::new(RecomputedSession::new(decoder, spec, rows)),
            false => Box::new(CachedSession::new(decoder, spec, self.way, rows)),
        }
    }
}

impl Engine for OnnxEngine {
    type Backend = Ort;

    fn spec(&self) -> &EngineSpec<Ort> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> eft_core::Result<Opened<Ort>> {
        self.spec.check(rows)?;
        let mut session = self.session(rows.len());
        let feed: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&feed)?;
        Ok((session, scores))
    }
}
