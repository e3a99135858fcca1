//! [`load()`]: from the name of a model to a source that takes text and conversations.
//!
//! A name is a folder in Hugging Face's layout, a GGUF file, or an id on the Hugging Face hub (`organisation/model`;
//! for a GGUF file there, `organisation/model:file.gguf`). The tokenizer, the chat template and what ends a text are
//! read from the same place. [`Loader`] has the options, and with the feature `ort` it loads ONNX files
//! (`Loader::load_onnx`).
//!
//! ```no_run
//! use eft::{Prompt, Sampling};
//!
//! let large = eft::load("Qwen/Qwen2.5-1.5B")?;
//! let tuned = eft::load("Qwen/Qwen2.5-0.5B-Instruct")?;
//! let untuned = eft::load("Qwen/Qwen2.5-0.5B")?;
//!
//! let upscaled = &large + (&tuned - &untuned);
//! for piece in upscaled.generate(Prompt::chat("How do magnets work?"), Sampling::default().seed(7))?.text() {
//!     print!("{}", piece?.text);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each load holds weights of its own. Sources that differ in adapter or prompt only are made of one load, by
//! [`Source::adapter`] and [`Source::under`]: they share its weights, and run as rows of one pass.
//!
//! ```no_run
//! use eft::load::Loader;
//!
//! let base = Loader::new("base").adapter("pirate", "adapters/pirate").adapter("poet", "adapters/poet").load()?;
//! let both = &base + 0.7 * (base.adapter("pirate")? - &base) + 0.3 * (base.adapter("poet")? - &base);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod beside;
mod error;
mod folder;
#[cfg(feature = "candle")]
mod gguf;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "ort")]
mod onnx;
mod place;

use std::path::PathBuf;
use std::sync::Arc;

use eft_core::{Engine, Source, Vocab};
use eft_models::{Adapter, DecoderEngine, Nn, Weights};

pub use error::{Error, Result};

use crate::text::{ChatTemplate, PlainTemplate, TextRenderer, Tokenizer};
use place::Place;

/// Loads a model by name, to run on the processor by candle.
///
/// # The files must not change
/// Weights are mapped into memory. The files must not be changed or truncated in place as long as the model exists: that
/// would be undefined behaviour. Replacing a file by renaming another to its name is fine.
///
/// # Errors
/// [`Error::NotFound`] for a name that leads to nothing, [`Error::Hub`], and [`Error::Files`] for what is broken or
/// not supported.
#[cfg(feature = "candle")]
pub fn load(name: impl Into<String>) -> Result<Source<eft_backend_candle::Candle>> {
    Loader::new(name).load()
}

/// Which model is loaded, and how.
#[derive(Debug, Clone)]
pub struct Loader {
    name: String,
    called: Option<String>,
    adapters: Vec<(String, PathBuf)>,
    tokenizer: Option<PathBuf>,
    template: Template,
    vocab: Option<Vocab>,
    #[cfg(feature = "hub")]
    hub: hub::Options,
}

/// Which template conversations are rendered by.
#[derive(Debug, Clone)]
enum Template {
    /// The model's own, by its name where there are several.
    Own(Option<String>),
    Chat(Arc<ChatTemplate>),
    Plain(PlainTemplate),
}

/// A model that was loaded.
#[derive(Debug, Clone)]
pub struct Model<B: eft_core::Backend> {
    /// It, as a term of combinations.
    pub source: Source<B>,
    /// What makes token ids of its prompts; `None` for a model without a tokenizer, which takes token ids only.
    pub renderer: Option<TextRenderer>,
}

impl Loader {
    /// A model by name: see the [module](self).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            called: None,
            adapters: Vec::new(),
            tokenizer: None,
            template: Template::Own(None),
            vocab: None,
            #[cfg(feature = "hub")]
            hub: hub::Options::default(),
        }
    }

    /// What the model is called in formulas and messages: by its folder, file or id, unless told.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.called = Some(name.into());
        self
    }

    /// With a PEFT LoRA adapter of this name, from a folder: see [`Source::adapter`].
    pub fn adapter(mut self, name: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        self.adapters.push((name.into(), folder.into()));
        self
    }

    /// With the tokenizer of this `tokenizer.json` instead of the model's own.
    pub fn tokenizer(mut self, file: impl Into<PathBuf>) -> Self {
        self.tokenizer = Some(file.into());
        self
    }

    /// With this chat template instead of the model's own.
    pub fn chat(mut self, template: ChatTemplate) -> Self {
        self.template = Template::Chat(Arc::new(template));
        self
    }

    /// With the model's own chat template of this name, where it has several.
    pub fn chat_named(mut self, name: impl Into<String>) -> Self {
        self.template = Template::Own(Some(name.into()));
        self
    }

    /// With a plain template instead of the model's own.
    pub fn plain(mut self, template: PlainTemplate) -> Self {
        self.template = Template::Plain(template);
        self
    }

    /// With this vocabulary instead of the tokenizer's: the caller's word that the ids mean the same as another
    /// model's.
    pub fn vocab(mut self, vocab: Vocab) -> Self {
        self.vocab = Some(vocab);
        self
    }

    /// Loads the model, to run on the processor by candle.
    ///
    /// # Errors
    /// As [`load()`].
    #[cfg(feature = "candle")]
    pub fn load(&self) -> Result<Source<eft_backend_candle::Candle>> {
        use eft_backend_candle::{Candle, CandleNn};

        Ok(self.load_on(CandleNn::new(Candle::cpu()))?.source)
    }

    /// Loads the model, to run by any library of tensors: by candle on a GPU (`CandleNn`), by libtorch (`TorchNn`), or by
    /// one of your own.
    ///
    /// # Errors
    /// As [`load()`].
    pub fn load_on<N: Nn>(&self, nn: N) -> Result<Model<N::Backend>> {
        match self.place()? {
            (Place::Folder(folder), name) => folder::load(self, nn, &folder, name),
            #[cfg(feature = "candle")]
            (Place::Gguf(file), name) => gguf::load(self, nn, &file, name),
        }
    }

    /// The vocabulary that was asked for, or that was found.
    fn vocabulary(&self, found: Option<Arc<Vocab>>) -> Option<Arc<Vocab>> {
        self.vocab.clone().map(Arc::new).or(found)
    }

    /// The tokenizer that was asked for, if one was.
    fn own_tokenizer(&self) -> Result<Option<Tokenizer>> {
        Ok(self.tokenizer.as_ref().map(Tokenizer::open).transpose()?)
    }

    /// A renderer with the template that was asked for, or what `own` finds of the name asked for.
    fn renderer(
        &self,
        tokenizer: Tokenizer,
        own: impl FnOnce(Option<&str>) -> Result<Option<ChatTemplate>>,
    ) -> Result<TextRenderer> {
        let renderer = TextRenderer::new(tokenizer);
        Ok(match &self.template {
            Template::Chat(template) => renderer.chat(template.clone()),
            Template::Plain(template) => renderer.plain(template.clone()),
            Template::Own(name) => match own(name.as_deref())? {
                Some(template) => renderer.chat(template),
                None => renderer,
            },
        })
    }

    /// The model of what was found.
    fn model<N: Nn>(
        &self,
        nn: N,
        weights: &dyn Weights,
        vocab: Option<Arc<Vocab>>,
        renderer: Option<TextRenderer>,
    ) -> Result<Model<N::Backend>> {
        let adapters = self.adapters.iter().map(|(name, folder)| Ok(Adapter::open(folder)?.named(name)));
        let adapters = adapters.collect::<Result<Vec<_>>>()?;
        let vocab = self.vocabulary(vocab);
        Model::new(DecoderEngine::with_adapters(nn, weights, &adapters, vocab)?, renderer)
    }
}

impl<B: eft_core::Backend> Model<B> {
    fn new(engine: impl Engine<Backend = B> + 'static, renderer: Option<TextRenderer>) -> Result<Self> {
        let source = Source::new(engine);
        let source = match renderer.clone() {
            Some(renderer) => source.rendered_by(renderer)?,
            None => source,
        };
        Ok(Self { source, renderer })
    }
}
