//! Loads the models that the flags name, and combines them.
#![allow(dead_code)] // Not every example uses all of them.

#[path = "over.rs"]
mod over;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eft::candle::{CacheType, Candle, CandleNn, DType, WeightType};
use eft::load::{GenerationDefaults, Loader, Model};
use eft::models::Nn;
use eft::text::{ChatTemplate, PlainTemplate, TextRenderer, Tokenizer};
use eft::{PromptTransform, Source, Vocab, combine, formula};

use over::{OverBytes, over_vocab};

use super::flags::{Backend, Dtype, Mode, ModelFlags};

/// A library that can load a model.
trait Load {
    type Backend: eft::Backend;

    /// The backend that holds the scores.
    fn backend(&self) -> Self::Backend;

    fn load(&self, loader: &Loader) -> Result<Model<Self::Backend>>;
}

/// A tensor library.
struct Tensors<N>(N);

impl<N: Nn> Load for Tensors<N> {
    type Backend = N::Backend;

    fn backend(&self) -> N::Backend {
        self.0.backend().clone()
    }

    fn load(&self, loader: &Loader) -> Result<Model<N::Backend>> {
        Ok(loader.load_on(self.0.clone())?)
    }
}

#[cfg(feature = "ort")]
impl Load for eft::ort::Ort {
    type Backend = Self;

    fn backend(&self) -> Self {
        self.clone()
    }

    fn load(&self, loader: &Loader) -> Result<Model<Self>> {
        Ok(loader.load_onnx(self)?)
    }
}

/// The part of an example that uses the models, for any backend.
pub(crate) trait Run {
    fn run<B: eft::Backend>(&self, models: Models<B>) -> Result<()>;
}

/// The models, and their combination.
pub(crate) struct Models<B: eft::Backend> {
    /// The untuned model that the difference is added to: the large one, or with the mode `down` the small one.
    pub(crate) base: Source<B>,
    pub(crate) tuned: Source<B>,
    /// The tuned model before it was tuned.
    pub(crate) untuned: Source<B>,
    pub(crate) combined: Source<B>,
    /// A copy of the tuned model that drafts, if the flags ask for one.
    pub(crate) draft: Option<Source<B>>,
    /// The model that the combination emulates, if there is one to compare with.
    pub(crate) reference: Option<Source<B>>,
    /// The settings of generation that the tuned model's files recommend.
    pub(crate) recommended: Option<GenerationDefaults>,
    /// The tokenizer of the first model that has one.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// The base as one that only samples text, if it runs on a server.
    pub(crate) sampler: Option<Box<dyn eft::search::Proposer>>,
    /// The models that a formula may name.
    pub(crate) named: Vec<(String, Source<B>)>,
}

impl<B: eft::Backend> Models<B> {
    /// The combination that a formula describes, in which numbers may have names.
    pub(crate) fn formula(&self, text: &str, numbers: &[(&str, f32)]) -> formula::Result<Source<B>> {
        let numbers = numbers.iter().map(|(name, number)| (*name, f64::from(*number)));
        formula::parse_with(text, self.named.iter().map(|(name, source)| (&name[..], source)), numbers)
    }
}

/// Loads the models with the library that the flags name, and runs the example.
pub(crate) fn with_backend(flags: &ModelFlags, run: &impl Run) -> Result<()> {
    flags.check()?;
    if flags.backend != Backend::Candle && flags.cache_type != CacheType::F32 {
        bail!(
            "`--cache-type` needs candle: other backends keep keys and values in the type that they compute in"
        );
    }
    if flags.backend != Backend::Candle
        && (flags.weight_type != WeightType::Stored || flags.draft_weight_type.is_some())
    {
        bail!("only candle quantises weights while it loads models: `--backend` must be `candle`");
    }
    if flags.draft_weight_type == Some(flags.weight_type) {
        bail!("`--draft-weight-type` must differ from `--weight-type`: the copy would be the model itself");
    }
    match flags.backend {
        Backend::Candle => {
            let dtype = match flags.dtype {
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::Bf16 => DType::BF16,
            };
            let nn = CandleNn::new(Candle::try_from(flags.device)?).dtype(dtype).cache_type(flags.cache_type);
            let nn = nn.weight_type(flags.weight_type);
            let draft = flags.draft_weight_type.map(|kind| Tensors(nn.clone().weight_type(kind)));
            run.run(Models::load(flags, &Tensors(nn), draft.as_ref())?)
        }
        #[cfg(feature = "ort")]
        Backend::Ort => run.run(Models::load(flags, &onnx_runtime(flags)?, None)?),
        #[cfg(feature = "tch")]
        Backend::Tch => run.run(Models::load(flags, &Tensors(libtorch(flags)?), None)?),
        #[cfg(not(feature = "ort"))]
        Backend::Ort => bail!("`--backend ort` needs a program that is compiled with `--features ort`"),
        #[cfg(not(feature = "tch"))]
        Backend::Tch => bail!("`--backend tch` needs a program that is compiled with `--features tch`"),
    }
}

#[cfg(feature = "tch")]
fn libtorch(flags: &ModelFlags) -> Result<eft::tch::TorchNn> {
    use eft::tch::{Kind, Torch, TorchNn};

    let kind = match flags.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
    };
    Ok(TorchNn::new(Torch::try_from(flags.device)?).kind(kind))
}

#[cfg(feature = "ort")]
fn onnx_runtime(flags: &ModelFlags) -> Result<eft::ort::Ort> {
    if flags.dtype != Dtype::F32 {
        bail!("`--dtype` needs candle or libtorch: an ONNX file has the types that it was exported with");
    }
    let options = eft::ort::Options::default().on(flags.device)?;
    eft::ort::Ort::new(&options).context(
        "cannot use ONNX Runtime; if it is missing, `export \"$(eft-backend-ort/get-onnxruntime)\"` in a \
         clone of this repository gets it from PyPI",
    )
}

impl<B: eft::Backend> Models<B> {
    /// Loads the models that the flags name, by default those of the zoo, and with `draft` another copy of the tuned one.
    fn load<L: Load<Backend = B>>(flags: &ModelFlags, by: &L, draft: Option<&L>) -> Result<Self> {
        let zoo = |name: &str| format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"));
        let named = |flag: &Option<String>, in_zoo: &str| flag.clone().unwrap_or_else(|| zoo(in_zoo));
        let down = flags.mode == Mode::Down;
        let (of_zoo, emulated) =
            if down { ("tuned-large", "tuned-small") } else { ("tuned-small", "tuned-large") };
        let (large, small) = (named(&flags.large, flags.zoo_large), named(&flags.small, "base-small"));
        let tuned = named(&flags.tuned, of_zoo);

        let mut loaded = Loaded::new(by, flags.verbose, &small);
        let untuned = if down { &large } else { &small };
        let others = flags.others.iter().map(|(_, model)| model);
        let is_adapter = |model: &&String| Path::new(model).join("adapter_config.json").exists();
        loaded.with_adapters(untuned, std::iter::once(&tuned).chain(others).filter(is_adapter))?;
        let tuned_name = tuned.clone();
        let vocabs = [&large, &small, &tuned].into_iter().map(|name| Ok(loaded.model(name)?.vocab().clone()));
        let vocabs = vocabs.collect::<Result<Vec<_>>>()?;
        let differ = vocabs.iter().any(|vocab| vocabs[0].relation(vocab).is_err());
        if flags.map_tokens {
            loaded.over_vocab(&vocabs[0])?;
        } else if flags.bytes || differ {
            let reason = if differ { "The models' tokenizers differ, so they" } else { "The models" };
            eprintln!("{reason} are combined over bytes, which --max-tokens counts then.");
            loaded.over_bytes(OverBytes { prune: flags.prune.unwrap_or(0.0), covering: flags.covering })?;
        } else if flags.prune.is_some() || flags.covering.is_some() {
            bail!(
                "`--prune` and `--covering` have no part here: the models have one tokenizer, and no `--bytes` was given"
            );
        }
        let mut draft = match draft {
            Some(by) => {
                let mut copies = Loaded::new(by, false, &small);
                copies.with_adapters(untuned, std::iter::once(&tuned).filter(is_adapter))?;
                let copy = copies.model(&tuned)?;
                Some(match (loaded.bytes, &loaded.vocab) {
                    (Some(settings), _) => settings.of(&copy)?,
                    (None, Some(vocab)) => over_vocab(&copy, vocab)?,
                    (None, None) => copy,
                })
            }
            None => None,
        };
        let mut tuned = loaded.model(&tuned)?;
        let recommended = loaded.defaults.get(&tuned_name).cloned();
        let sampler = loaded.samplers.remove(if down { &small } else { &large });
        let (large, small) = (loaded.model(&large)?, loaded.model(&small)?);
        if let Some(system) = &flags.tuned_system {
            // Without a name of its own, so that the text stands in what a combination prints.
            let transform = || PromptTransform::system(system);
            (tuned, draft) = (tuned.under(transform()), draft.map(|draft| draft.under(transform())));
        }
        let reference = match (&flags.reference, &flags.large) {
            (None, Some(_)) => None,
            (reference, _) => Some(loaded.model(&named(reference, emulated))?),
        };
        let mut named: Vec<_> = [("large", &large), ("small", &small), ("tuned", &tuned)]
            .map(|(name, source)| (name.to_owned(), source.clone()))
            .into();
        for (name, model) in &flags.others {
            named.push((name.clone(), loaded.model(model)?));
        }
        let combined = match flags.mode {
            _ if let Some(text) = &flags.formula => {
                formula::parse(text, named.iter().map(|(name, source)| (&name[..], source)))?
            }
            Mode::Up => combine::delta(&large, &tuned, &small, flags.alpha.unwrap_or(1.0))?,
            Mode::Down => combine::delta(&small, &tuned, &large, flags.alpha.unwrap_or(1.0))?,
            Mode::Amplified => combine::amplified_delta(&large, &tuned, &small, flags.beta.unwrap_or(1.0))?,
            Mode::Filtered => {
                let (beta, mass) = (flags.beta.unwrap_or(1.0), flags.nucleus.unwrap_or(0.9));
                combine::nucleus_delta(&large, &tuned, &small, beta, mass)?
            }
        };
        combined.check()?;
        let (base, untuned) = if down { (small, large) } else { (large, small) };
        Ok(Self {
            base,
            tuned,
            untuned,
            combined,
            draft,
            reference,
            recommended,
            tokenizer: loaded.found,
            named,
            sampler,
        })
    }
}

/// The models that were loaded, by name: one that is named twice is loaded once, and runs once.
struct Loaded<'a, L: Load> {
    by: &'a L,
    verbose: bool,
    /// The model whose tokenizer one on a server has.
    tokenizer: String,
    sources: HashMap<String, Source<L::Backend>>,
    /// The tokenizer of the first model that has one.
    found: Option<Arc<Tokenizer>>,
    /// The settings of generation that the models' files recommend.
    defaults: HashMap<String, GenerationDefaults>,
    /// The models that run on servers, as ones that only sample text.
    samplers: HashMap<String, Box<dyn eft::search::Proposer>>,
    /// If models are combined over bytes, the settings.
    bytes: Option<OverBytes>,
    /// If models are combined over the tokens of one vocabulary, this vocabulary.
    vocab: Option<Arc<Vocab>>,
}

impl<'a, L: Load> Loaded<'a, L> {
    fn new(by: &'a L, verbose: bool, tokenizer: &str) -> Self {
        Self {
            by,
            verbose,
            tokenizer: tokenizer.into(),
            sources: HashMap::new(),
            found: None,
            defaults: HashMap::new(),
            samplers: HashMap::new(),
            bytes: None,
            vocab: None,
        }
    }

    fn model(&mut self, name: &str) -> Result<Source<L::Backend>> {
        if let Some(source) = self.sources.get(name) {
            return Ok(source.clone());
        }
        let loader = Loader::new(name);
        #[cfg(feature = "remote")]
        let loader = loader.tokenizer_of(&self.tokenizer);
        let mut source = self.open(name, loader)?.source;
        if let Some(settings) = self.bytes {
            source = settings.of(&source)?;
            self.sources.insert(name.into(), source.clone());
        }
        if let Some(vocab) = &self.vocab {
            source = over_vocab(&source, vocab)?;
            self.sources.insert(name.into(), source.clone());
        }
        Ok(source)
    }

    /// Maps all models with another vocabulary to this one, also those that are loaded later.
    fn over_vocab(&mut self, vocab: &Arc<Vocab>) -> Result<()> {
        for source in self.sources.values_mut() {
            *source = over_vocab(source, vocab)?;
        }
        self.vocab = Some(vocab.clone());
        Ok(())
    }

    /// Makes sources over bytes of all models, also of those that are loaded later.
    fn over_bytes(&mut self, settings: OverBytes) -> Result<()> {
        if settings.covering.is_some() && self.sources.values().all(OverBytes::is_known) {
            bail!(
                "`--covering` has no part here: it is known which token sequences the models' tokenizers write"
            );
        }
        for source in self.sources.values_mut() {
            *source = settings.of(source)?;
        }
        self.bytes = Some(settings);
        Ok(())
    }

    /// Loads a base with its adapters, which share its weights. Without adapters, loads nothing.
    fn with_adapters<'n>(&mut self, base: &str, adapters: impl Iterator<Item = &'n String>) -> Result<()> {
        let mut named = Vec::new();
        for adapter in adapters {
            let name = Path::new(adapter).file_name().context("the adapter's folder has no name")?;
            named.push((name.to_string_lossy(), adapter));
        }
        named.sort();
        named.dedup();
        if named.is_empty() {
            return Ok(());
        }
        let loader =
            named.iter().fold(Loader::new(base), |l, (name, folder)| l.adapter(name.clone(), folder));
        let model = self.open(base, loader)?;
        for (name, folder) in named {
            let mut adapted = model.source.adapter(&name)?;
            // An adapter has its own template if it was tuned with a different one than its base.
            if let (Some(renderer), Some(template)) = (&model.renderer, ChatTemplate::read(folder, None)?) {
                adapted = adapted.rendered_by(renderer.clone().chat(template))?;
            }
            self.sources.insert(folder.clone(), adapted.named(name));
            let own = GenerationDefaults::read(folder)?.or(model.defaults.clone());
            self.defaults.extend(own.map(|defaults| (folder.clone(), defaults)));
        }
        Ok(())
    }

    fn open(&mut self, name: &str, loader: Loader) -> Result<Model<L::Backend>> {
        #[cfg(feature = "remote")]
        let mut model = match name.starts_with("http://") || name.starts_with("https://") {
            true => self.on_server(name, &loader)?,
            false => self.by.load(&loader)?,
        };
        #[cfg(not(feature = "remote"))]
        let mut model = self.by.load(&loader)?;
        if let Some(defaults) = model.defaults.as_ref().filter(|_| self.verbose) {
            eprintln!("{name} recommends: {defaults}");
        }
        if model.renderer.is_none() {
            bail!("`{name}` has no tokenizer.json, which makes tokens of text");
        }
        if let Some(renderer) = model.renderer.clone()
            && !renderer.has_template()
        {
            model.source = model.source.rendered_by(with_template(renderer))?;
        }
        self.sources.insert(name.into(), model.source.clone());
        self.defaults.extend(model.defaults.clone().map(|defaults| (name.into(), defaults)));
        let tokenizer = model.renderer.as_ref().map(|renderer| renderer.tokenizer().clone());
        self.found = self.found.take().or(tokenizer);
        Ok(model)
    }

    #[cfg(feature = "remote")]
    fn on_server(&mut self, name: &str, loader: &Loader) -> Result<Model<L::Backend>> {
        let model = loader.load_remote(self.by.backend())?;
        let renderer = with_template(model.renderer.clone());
        let sampler = model.engine.server().proposer().rendered_by(renderer);
        self.samplers.insert(name.into(), Box::new(sampler));
        Ok(model.into())
    }
}

/// The renderer with a plain template if it has none, as that of a base model. A template that fails is not replaced: its
/// error says why.
fn with_template(renderer: TextRenderer) -> TextRenderer {
    if renderer.has_template() { renderer } else { renderer.plain(PlainTemplate::default()) }
}
