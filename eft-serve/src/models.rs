//! [`Models`]: the models and combinations of a server.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eft::candle::{Candle, CandleNn};
use eft::load::{Loader, Model};
use eft::text::{ChatTemplate, PlainTemplate, TextRenderer, Tokenizer};
use eft::{Prompt, TokenId, Vocab, formula};

use crate::config::{Config, ModelBackend, ModelConfig};

/// A model or a combination of models.
pub type Source = eft::Source<Candle>;

/// The models and combinations of a server, by their names.
pub struct Models {
    sources: BTreeMap<String, Source>,
    combinations: BTreeMap<String, Combination>,
    /// The model whose tokens are counted and shown: the one that the first combination names first, or the first of all.
    first: Source,
    tokenizer: Option<Arc<Tokenizer>>,
    #[cfg(feature = "grammar")]
    pub(crate) grammars: crate::grammars::Grammars,
}

/// A combination as it was configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// The formula.
    pub formula: String,
    /// The numbers that the formula names.
    pub numbers: BTreeMap<String, f64>,
}

/// Why there is no source for what a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// No model or combination has the name; the names that there are.
    NoModel(Vec<String>),
    /// A field is at fault: its name, and the reason.
    Field(String, String),
}

impl Models {
    /// Loads the models of a configuration.
    ///
    /// # Errors
    /// If a model cannot be loaded, or the models of a combination do not fit together.
    pub fn load(config: &Config) -> Result<Self> {
        let (mut sources, mut tokenizer) = (BTreeMap::new(), None);
        for (name, model) in config.models.iter().filter(|(_, model)| model.base.is_none()) {
            let adapters = config.models.iter().filter(|(_, other)| other.base.as_ref() == Some(name));
            let adapters: Vec<_> = adapters.collect();
            let loaded =
                load(name, model, &adapters, config).with_context(|| format!("the model `{name}`"))?;
            tokenizer = tokenizer.or(loaded.tokenizer);
            sources.extend(loaded.sources);
        }
        let of = |combination: &crate::config::CombinationConfig| Combination {
            formula: combination.formula.get_ref().clone(),
            numbers: combination.numbers.clone(),
        };
        let combinations =
            config.combinations.iter().map(|(name, combination)| (name.clone(), of(combination)));
        let Some(first) = sources.values().next().cloned() else {
            bail!("there are no models to serve: `[models]` is missing or empty");
        };
        let mut models = Self {
            sources,
            combinations: combinations.collect(),
            first,
            tokenizer,
            #[cfg(feature = "grammar")]
            grammars: Default::default(),
        };
        for (name, combination) in &models.combinations {
            let of = || format!("the combination `{name}`");
            let source = models.parse(&combination.formula, &combination.numbers).with_context(of)?;
            source.check().with_context(of)?;
        }
        if let Some(Combination { formula, numbers }) = models.combinations.values().next() {
            let named = models.parse(formula, numbers)?.distinct_models();
            if let Some(source) = named.first().and_then(|model| models.sources.get(&model.name())) {
                models.first = source.clone();
            }
        }
        Ok(models)
    }

    /// Makes models of sources that are loaded already. Prompts are counted as the first one reads them.
    ///
    /// ```
    /// use eft::candle::Candle;
    /// use eft::{Vocab, from_fn};
    /// use eft_serve::Models;
    ///
    /// let coin = from_fn(Candle::cpu(), Vocab::new("coin", ["heads", "tails"])?, |_| Ok(vec![0.0, 0.0]));
    /// let models = Models::of(("coin", coin), []);
    /// assert_eq!(models.served().count(), 1);
    /// # Ok::<(), eft::Error>(())
    /// ```
    #[must_use]
    pub fn of<'a>(first: (&'a str, Source), others: impl IntoIterator<Item = (&'a str, Source)>) -> Self {
        let all = std::iter::once(first.clone()).chain(others);
        Self {
            first: first.1,
            sources: all.map(|(name, source)| (name.to_owned(), source)).collect(),
            combinations: BTreeMap::new(),
            tokenizer: None,
            #[cfg(feature = "grammar")]
            grammars: Default::default(),
        }
    }

    fn parse(&self, text: &str, numbers: &BTreeMap<String, f64>) -> formula::Result<Source> {
        let names = self.sources.iter().map(|(name, source)| (name.as_str(), source));
        formula::parse_with(text, names, numbers.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    /// Returns the names of what is served, combinations first, and the formula of each.
    pub fn served(&self) -> impl Iterator<Item = (&str, Combination)> {
        let combinations =
            self.combinations.iter().map(|(name, combination)| (name.as_str(), combination.clone()));
        let alone =
            |name: &str| Combination { formula: eft::source::quoted(name).into(), numbers: BTreeMap::new() };
        let models = self.sources.keys().map(move |name| (name.as_str(), alone(name)));
        combinations.chain(models)
    }

    /// Returns the model or combination of a name, with a request's own formula or numbers.
    ///
    /// # Errors
    /// [`Unresolved`] if there is none of the name, the formula is wrong, its models do not fit together, or it names none of
    /// the numbers.
    pub fn resolve(
        &self,
        name: &str,
        own: Option<&str>,
        numbers: &BTreeMap<String, f64>,
    ) -> Result<Source, Unresolved> {
        let Some((_, mut combination)) = self.served().find(|(served, _)| *served == name) else {
            return Err(Unresolved::NoModel(self.served().map(|(name, _)| name.to_owned()).collect()));
        };
        if let Some(own) = own {
            combination.formula = own.into();
        }
        for number in numbers.keys() {
            let known = match own {
                Some(own) => self.names(own, number, &combination.numbers, numbers),
                None => combination.numbers.contains_key(number),
            };
            if !known {
                let mut reason = format!("the formula {} has no number of this name", combination.formula);
                if own.is_none() {
                    let names: Vec<_> = combination.numbers.keys().map(|name| format!("`{name}`")).collect();
                    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                    reason += &format!("; it has {names}");
                }
                return Err(Unresolved::Field(format!("eft.{number}"), reason));
            }
        }
        combination.numbers.extend(numbers.clone());
        let field = || if own.is_some() { "eft.formula" } else { "eft" }.to_owned();
        let source = self
            .parse(&combination.formula, &combination.numbers)
            .map_err(|error| Unresolved::Field(field(), error.to_string()))?;
        let refused = |error: eft::Error| Unresolved::Field(field(), eft::error::with_sources(&error));
        source.check().map_err(refused)?;
        Ok(source)
    }

    /// Whether a formula names a number: it has no meaning without it. That of a wrong formula is not known.
    fn names(
        &self,
        formula: &str,
        number: &str,
        defaults: &BTreeMap<String, f64>,
        given: &BTreeMap<String, f64>,
    ) -> bool {
        let others = defaults.iter().chain(given).filter(|(name, _)| *name != number);
        self.parse(formula, &others.map(|(name, value)| (name.clone(), *value)).collect()).is_err()
    }

    /// Returns the model of this name.
    pub(crate) fn model(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    /// Returns the models that a combination names.
    pub(crate) fn named_by(&self, combination: &Source) -> impl Iterator<Item = &Source> {
        let named: BTreeSet<_> = combination.distinct_models().iter().map(Source::name).collect();
        self.sources.iter().filter(move |(name, _)| named.contains(*name)).map(|(_, source)| source)
    }

    /// Returns the vocabulary whose tokens are shown.
    #[must_use]
    pub fn vocab(&self) -> &Arc<Vocab> {
        self.first.vocab()
    }

    /// Returns the token ids of a prompt as the first model of the first combination renders it. Prompts are counted by
    /// them.
    ///
    /// # Errors
    /// Any error of the tokenizer or the template.
    pub fn render(&self, prompt: impl Into<Prompt>) -> eft::Result<Vec<TokenId>> {
        self.first.render(prompt)
    }

    /// Returns the token ids of a text without those that begin a sequence.
    ///
    /// # Errors
    /// Any error of the tokenizer.
    pub fn continuation(&self, text: &str) -> eft::Result<Vec<TokenId>> {
        self.first.continuation(text)
    }

    /// Returns the tokenizer of the first model that has one.
    #[must_use]
    pub fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        self.tokenizer.as_ref()
    }
}

/// A model that was loaded, and its adapters.
struct Loaded {
    sources: Vec<(String, Source)>,
    tokenizer: Option<Arc<Tokenizer>>,
}

/// Loads a model, and its adapters, which share its weights.
fn load(
    name: &str,
    model: &ModelConfig,
    adapters: &[(&String, &ModelConfig)],
    config: &Config,
) -> Result<Loaded> {
    let mut loader = Loader::new(&model.path).named(name).on_warning(|warning| tracing::warn!("{warning}"));
    for (adapter, of) in adapters {
        loader = loader.adapter(adapter.as_str(), &of.path);
    }
    let (source, renderer) = on_backend(&loader, model, config)?;
    let renderer = renderer.map(|renderer| match renderer.has_template() {
        true => renderer,
        // A base model has no template of its own.
        false => renderer.plain(PlainTemplate::default()),
    });
    let source = match &renderer {
        Some(renderer) => source.rendered_by(renderer.clone())?,
        None => source,
    };
    let mut sources = vec![(name.to_owned(), source.clone())];
    for (adapter, of) in adapters {
        let mut adapted = source.adapter(adapter)?;
        // An adapter has its own template if it was tuned with a different one than its base.
        if let (Some(renderer), Some(template)) = (&renderer, ChatTemplate::read(Path::new(&of.path), None)?)
        {
            adapted = adapted.rendered_by(renderer.clone().chat(template))?;
        }
        sources.push(((*adapter).clone(), adapted.named(adapter.as_str())));
    }
    Ok(Loaded { sources, tokenizer: renderer.map(|renderer| renderer.tokenizer().clone()) })
}

/// Loads a model with the library that it names, or from the server that runs it. Scores are tensors of candle, whatever
/// computes them.
fn on_backend(
    loader: &Loader,
    model: &ModelConfig,
    config: &Config,
) -> Result<(Source, Option<TextRenderer>)> {
    if model.is_remote() {
        return remote(loader, model, config);
    }
    match model.backend {
        None | Some(ModelBackend::Candle) => {
            let nn = CandleNn::new(Candle::cpu())
                .cache_type(model.cache_type.unwrap_or_default())
                .weight_type(model.weight_type.unwrap_or_default());
            let Model { source, renderer, .. } = loader.load_on(nn)?;
            Ok((source, renderer))
        }
        Some(ModelBackend::Tch) => libtorch(loader),
    }
}

#[cfg(feature = "tch")]
fn libtorch(loader: &Loader) -> Result<(Source, Option<TextRenderer>)> {
    use eft::tch::{Torch, TorchNn};

    let Model { source, renderer, .. } = loader.load_on(TorchNn::new(Torch::cpu()))?;
    Ok((source.bridged(Candle::cpu())?, renderer))
}

#[cfg(not(feature = "tch"))]
fn libtorch(_: &Loader) -> Result<(Source, Option<TextRenderer>)> {
    bail!("this server was built without the feature `tch`")
}

#[cfg(not(feature = "remote"))]
fn remote(_: &Loader, _: &ModelConfig, _: &Config) -> Result<(Source, Option<TextRenderer>)> {
    bail!("its path is a url, and this server was built without the feature `remote`")
}

#[cfg(feature = "remote")]
fn remote(loader: &Loader, model: &ModelConfig, config: &Config) -> Result<(Source, Option<TextRenderer>)> {
    let loader = match &model.tokenizer {
        Some(tokenizer) => {
            // It may be the name of another model.
            let tokenizer = config.models.get(tokenizer).map_or(tokenizer, |other| &other.path);
            loader.clone().tokenizer_of(tokenizer)
        }
        None => loader.clone(),
    };
    let Model { source, renderer, .. } = loader.load_remote(Candle::cpu())?.into();
    Ok((source, renderer))
}
