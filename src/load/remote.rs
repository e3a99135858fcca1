//! Loading models that run on servers.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_backend_remote::{Remote, RemoteEngine, RemoteProposer, Server};
use eft_core::{Backend, Source, TokenId, Vocab};

use super::error::{Error, Result};
#[cfg(feature = "hub")]
use super::hub;
use super::loader::Loader;
use super::model::{Model, chosen_vocab};
use super::sidecar;
use super::warning::Warning;
use crate::text::config::read_json;
use crate::text::renderer::TextRenderer;

/// A model that runs on a server.
#[derive(Debug)]
#[non_exhaustive]
pub struct RemoteModel<B: Backend> {
    /// The model as an engine, with the server and what was exchanged with it.
    pub engine: RemoteEngine<B>,
    /// The model as a logit source, to be used alone or in combinations.
    pub source: Source<B>,
    /// The tokenizer and template that render its prompts.
    pub renderer: TextRenderer,
}

impl<B: Backend> RemoteModel<B> {
    /// Returns the model as the base of a [search](eft_core::search) that asks the server for sampled text only, and for
    /// no log-probs. Its prompts are rendered by the model's tokenizer and template.
    ///
    /// ```no_run
    /// use eft::candle::Candle;
    /// use eft::search::{ChunkBeamSearch, ImplicitReward};
    /// use eft::{Loader, Prompt};
    ///
    /// let large = Loader::new("http://host:8000/v1#org/model").load_remote(Candle::cpu())?;
    /// let (tuned, small) = (eft::load("org/small-tuned")?, eft::load("org/small")?);
    /// let base = large.proposer();
    /// let search = ChunkBeamSearch::new(&base, ImplicitReward::new(&tuned, &small));
    /// println!("{}", search.run(Prompt::chat("How do magnets work?"))?.best().continuation.to_text());
    /// # Ok::<(), eft::Error>(())
    /// ```
    pub fn proposer(&self) -> RemoteProposer {
        self.engine.server().proposer().rendered_by(self.renderer.clone())
    }
}

impl<B: Backend> From<RemoteModel<B>> for Model<B> {
    fn from(model: RemoteModel<B>) -> Self {
        Self { source: model.source, renderer: Some(model.renderer), defaults: None }
    }
}

/// How many special tokens are compared with those of the server.
const SPECIALS: usize = 8;

impl Loader {
    /// Connects to a server that runs the model. The name is then a url, as in `http://host:8000/v1#org/model`; what
    /// comes after the `#` is needed only if the server has several models. Scores are uploaded to `backend`.
    ///
    /// The tokenizer is that of [`Loader::tokenizer`], or that of the folder or id of [`Loader::tokenizer_of`], or that
    /// of the folder or id that the server's model is named after. Some texts are tokenized here and by the server and
    /// compared.
    ///
    /// ```no_run
    /// use eft::Loader;
    /// use eft::candle::Candle;
    ///
    /// let large = Loader::new("http://127.0.0.1:8080").tokenizer_of("zoo/base-large").load_remote(Candle::cpu())?;
    /// println!("{} runs {}", large.engine.server().url(), large.engine.server().model());
    /// # Ok::<(), eft::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Remote`] if the server cannot be reached, has no such model, or tokenizes differently.
    /// * [`Error::NotFound`] if the tokenizer is nowhere.
    /// * [`Error::Hub`] if the tokenizer cannot be obtained from the hub or its cache.
    /// * [`Error::Files`] if the tokenizer or the template is broken or not supported.
    /// * [`Error::Core`] if the loader has adapters, or the vocabulary does not fit the model.
    pub fn load_remote<B: Backend>(&self, backend: B) -> Result<RemoteModel<B>> {
        if let Some((adapter, _)) = self.adapters.first() {
            let what = format!("adapters: let the server run `{adapter}`, and name it as a model");
            let who = format!("`{}`, a server,", self.name);
            return Err(eft_core::Error::Unsupported { who, what }.into());
        }
        let server = self.remote.apply(Remote::new(&self.name)).open()?;
        let folder = tokenizer_folder(self, &server)?;
        let name = self.given_name.clone().unwrap_or_else(|| short_name(server.model()).into());
        let width = match server.vocab_size() {
            Some(size) => size,
            None => width(self, &folder)?,
        };
        let Some((vocab, renderer)) = sidecar::read(self, &folder, name.clone(), width, &[])? else {
            let reason = format!("has no tokenizer: {} has no tokenizer.json", folder.display());
            return Err(Error::NotFound { name: self.name.clone(), reason });
        };
        let vocab = chosen_vocab(self, Some(Arc::new(vocab.clone()))).unwrap_or(Arc::new(vocab));
        let tokenizer = renderer.tokenizer();
        if server.check_vocabulary(&specials(&vocab), |text| tokenizer.encode(text, false))? == 0 {
            let finding = format!(
                "{} does not tokenize, so whether its token ids are those of the tokenizer here could not be checked",
                server.url()
            );
            self.on_warning.warn(&Warning::Suspect { model: name, finding });
        }
        let engine = server.engine(backend, vocab)?;
        let source = Source::new(engine.clone()).rendered_by(renderer.clone())?;
        Ok(RemoteModel { engine, source, renderer })
    }
}

/// Whether a model's name is a url.
pub(super) fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// The last part of the name of a server's model, which may be a path.
fn short_name(model: &str) -> &str {
    let model = model.rsplit(['/', '\\']).next().unwrap_or(model);
    model.strip_suffix(".gguf").unwrap_or(model)
}

/// The folder with the tokenizer and what is beside it.
fn tokenizer_folder(loader: &Loader, server: &Server) -> Result<PathBuf> {
    if let (Some(file), None) = (&loader.tokenizer, &loader.tokenizer_of) {
        return Ok(file.parent().unwrap_or(Path::new("")).into());
    }
    let name = loader.tokenizer_of.as_deref().unwrap_or(server.model());
    if Path::new(name).is_dir() {
        return Ok(name.into());
    }
    #[cfg(feature = "hub")]
    if let Some((id, None)) = hub::parse_id(name) {
        return hub::fetch_tokenizer(loader, id);
    }
    let reason = format!(
        "runs `{}`, and `{name}` is neither a folder here nor an id on the hub: name the folder or id whose tokenizer \
         the model has, with `Loader::tokenizer_of`",
        server.model()
    );
    Err(Error::NotFound { name: loader.name.clone(), reason })
}

/// The width of the model's score rows: that of its configuration, else the number of ids of its tokenizer.
fn width(loader: &Loader, folder: &Path) -> Result<usize> {
    let config = folder.join("config.json");
    let size = if config.exists() { read_json(&config)?["vocab_size"].as_u64() } else { None };
    match size {
        Some(size) => Ok(size as usize),
        None => {
            let file = loader.tokenizer.clone().unwrap_or_else(|| folder.join("tokenizer.json"));
            let tokenizer = crate::text::Tokenizer::open(file)?;
            let ids = tokenizer.inner().get_vocab(true);
            Ok(ids.values().max().map_or(0, |id| *id as usize + 1))
        }
    }
}

/// The texts of some special tokens.
fn specials(vocab: &Vocab) -> Vec<String> {
    let ids = (0..vocab.real() as TokenId).filter(|id| vocab.is_special(*id));
    let texts = ids.filter_map(|id| String::from_utf8(vocab.bytes(id)?.to_vec()).ok());
    texts.filter(|text| !text.trim().is_empty()).take(SPECIALS).collect()
}
