//! [`Model`]: a loaded model, made from its weights, its vocabulary and its renderer.
use std::sync::Arc;

use eft_core::{Backend, Engine, Source, Vocab};
use eft_models::{Adapter, DecoderEngine, Nn, Weights};

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
        Ok(Self { source, renderer })
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
    let adapters = loader.adapters.iter().map(|(name, folder)| Ok(Adapter::open(folder)?.named(name)));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let vocab = chosen_vocab(loader, vocab);
    Model::new(DecoderEngine::with_adapters(nn, weights, &adapters, vocab)?, renderer)
}

/// The vocabulary that the loader was given, else the one that was found with the model.
pub(super) fn chosen_vocab(loader: &Loader, found: Option<Arc<Vocab>>) -> Option<Arc<Vocab>> {
    loader.vocab.clone().map(Arc::new).or(found)
}
