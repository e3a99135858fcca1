//! [`Model`]: a loaded model, made from its weights, its vocabulary and its renderer.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::{Backend, Decoding, Engine, Prompt, Source, Vocab};
use eft_models::{Adapter, DecoderEngine, Nn, Weights};

use super::defaults::GenerationDefaults;
use super::error::Result;
use super::loader::Loader;
use crate::text::renderer::TextRenderer;

/// A loaded model.
///
/// ```
/// use eft::Loader;
/// use eft::candle::{Candle, CandleNn};
///
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small");
/// let model = Loader::new(folder).load_on(CandleNn::new(Candle::cpu()))?;
/// let renderer = model.renderer.expect("the folder has a tokenizer");
/// let text = renderer.text("tuned-small", &[eft::Message::new("user", "Why?")])?;
/// assert!(text.contains("Why?"));
/// # Ok::<(), eft::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Model<B: Backend> {
    /// The model as a logit source, to be used alone or in combinations.
    pub source: Source<B>,
    /// The tokenizer and template that render its prompts; `None` for a model without a tokenizer, whose prompts must
    /// be token ids.
    pub renderer: Option<TextRenderer>,
    /// The settings of generation that the model's authors recommend; `None` if its files do not say.
    pub defaults: Option<GenerationDefaults>,
}

impl<B: Backend> Model<B> {
    pub(super) fn new(
        engine: impl Engine<Backend = B> + 'static,
        renderer: Option<TextRenderer>,
    ) -> Result<Self> {
        let source = Source::new(engine);
        let source = match renderer.clone() {
            Some(renderer) => source.rendered_by(renderer)?,
            None => source,
        };
        Ok(Self { source, renderer, defaults: None })
    }

    /// The model with the settings of generation in a folder.
    pub(super) fn with_defaults(self, folder: &Path) -> Result<Self> {
        Ok(Self { defaults: GenerationDefaults::read(folder)?, ..self })
    }

    /// Returns the settings of generation after this prompt that the model's authors recommend in
    /// `generation_config.json`: how tokens are drawn, penalties, excluded tokens and limits. Without such a file, they
    /// are those of [`Decoding::default`].
    ///
    /// They may be used for a combination in which the model is a term.
    ///
    /// ```
    /// use eft::Loader;
    /// use eft::candle::{Candle, CandleNn};
    ///
    /// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small");
    /// let model = Loader::new(folder).load_on(CandleNn::new(Candle::cpu()))?;
    /// let decoding = model.decoding("Who is")?.max_tokens(8);
    /// let text: String = model.source.generate("Who is", decoding)?.text()?.collect::<eft::Result<_>>()?;
    /// assert!(!text.is_empty());
    /// # Ok::<(), eft::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`eft_core::Error::CannotRender`] if the model cannot render the prompt.
    /// * [`eft_core::Error::Load`], naming the file and the field, if a recommended setting is out of its range.
    pub fn decoding(&self, prompt: impl Into<Prompt>) -> eft_core::Result<Decoding> {
        let Some(defaults) = &self.defaults else { return Ok(Decoding::default()) };
        let length = self.source.render(prompt)?.len();
        defaults.decoding(&self.source.name(), self.source.vocab(), length)
    }
}

/// The model with these weights and the loader's adapters.
pub(super) fn of_weights<N: Nn>(
    loader: &Loader,
    nn: N,
    weights: &dyn Weights,
    vocab: Option<Arc<Vocab>>,
    renderer: Option<TextRenderer>,
) -> Result<Model<N::Backend>> {
    let adapters = loader.adapters.iter().map(|(name, parts)| {
        let open = |(path, weight): &(PathBuf, f32)| Ok((open_adapter(path)?, *weight));
        Ok(Adapter::sum(name, parts.iter().map(open).collect::<Result<Vec<_>>>()?))
    });
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let vocab = chosen_vocab(loader, vocab);
    Model::new(DecoderEngine::with_adapters(nn, weights, &adapters, vocab)?, renderer)
}

/// An adapter: a GGUF file, or a folder of PEFT's.
fn open_adapter(path: &Path) -> Result<Adapter> {
    #[cfg(feature = "candle")]
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return Ok(eft_backend_candle::gguf::open_adapter(path)?);
    }
    Ok(Adapter::open(path)?)
}

/// The vocabulary that the loader was given, else the one that was found with the model.
pub(super) fn chosen_vocab(loader: &Loader, found: Option<Arc<Vocab>>) -> Option<Arc<Vocab>> {
    loader.vocab.clone().map(Arc::new).or(found)
}
