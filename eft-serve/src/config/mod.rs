//! [`Config`]: which models and combinations a server has, and its limits.
//!
//! ```
//! use eft_serve::Config;
//!
//! let config = Config::parse(r#"
//!     [models]
//!     large = "Qwen/Qwen2.5-1.5B"
//!     small = "Qwen/Qwen2.5-0.5B"
//!     tuned = { path = "adapters/helpful", base = "small" }
//!
//!     [combinations.helpful]
//!     formula = "large + alpha*(tuned - small)"
//!     numbers = { alpha = 0.8 }
//! "#, "eft.toml")?;
//! assert_eq!(config.combinations["helpful"].numbers["alpha"], 0.8);
//!
//! let error = Config::parse("[models]\nlarge = 5", "eft.toml").unwrap_err();
//! assert!(error.to_string().starts_with("eft.toml, line 2, `models.large`"), "{error}");
//! # Ok::<(), eft_serve::config::Error>(())
//! ```
mod error;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use eft::formula;
use serde::Deserialize;
use toml::Spanned;

pub use error::Error;
pub use model::{ModelBackend, ModelConfig};

/// The contents of a configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where the server listens, and who may use it.
    #[serde(default)]
    pub server: ServerConfig,
    /// The models by their names in formulas.
    #[serde(default)]
    pub models: BTreeMap<String, ModelConfig>,
    /// The combinations by the names under which they are served.
    #[serde(default)]
    pub combinations: BTreeMap<String, CombinationConfig>,
    /// What a request asks for if it does not say.
    #[serde(default)]
    pub defaults: Defaults,
    /// What a request may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// When texts are written by speculative decoding.
    #[serde(default)]
    pub speculation: Speculation,
}

/// Where a server listens, and who may use it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The address; `127.0.0.1` by default, which only this machine can reach.
    pub host: String,
    /// The port; 8000 by default, and 0 for any that is free.
    pub port: u16,
    /// The environment variable that holds the key which requests must bring. Without it, none is needed.
    pub api_key_env: Option<String>,
    /// Whether prompts and texts are logged. They are not by default.
    pub log_prompts: bool,
    /// How many seconds running requests may go on after the server was told to stop; 30 by default.
    pub drain_seconds: f64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8000,
            api_key_env: None,
            log_prompts: false,
            drain_seconds: 30.0,
        }
    }
}

/// A combination of models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CombinationConfig {
    /// The combination as a [formula] of the models.
    pub formula: Spanned<String>,
    /// Numbers that the formula names, and their values, which a request may change.
    #[serde(default)]
    pub numbers: BTreeMap<String, f64>,
}

impl CombinationConfig {
    /// A combination without named numbers.
    pub fn new(formula: impl Into<String>) -> Self {
        Self { formula: Spanned::new(0..0, formula.into()), numbers: BTreeMap::new() }
    }

    /// Sets a named number.
    #[must_use]
    pub fn number(mut self, name: impl Into<String>, value: f64) -> Self {
        self.numbers.insert(name.into(), value);
        self
    }
}

/// What a request asks for if it does not say. The defaults are those of OpenAI.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Defaults {
    /// The temperature; 1 by default.
    pub temperature: f32,
    /// The mass of the nucleus; 1 by default, which keeps all tokens.
    pub top_p: f32,
    /// How many of the likeliest tokens are kept; all by default.
    pub top_k: Option<usize>,
    /// The least share of the likeliest token's probability; 0 by default.
    pub min_p: f32,
    /// The most tokens of an answer in a conversation; 512 by default.
    pub chat_tokens: usize,
    /// The most tokens of a completion; 16 by default.
    pub completion_tokens: usize,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            min_p: 0.0,
            chat_tokens: 512,
            completion_tokens: 16,
        }
    }
}

/// What a request may ask for, and how many requests there may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// The most texts that are generated at once; 32 by default.
    pub rows: usize,
    /// The most prompts that wait; 512 by default.
    pub queue: usize,
    /// The most requests that are answered at once; 512 by default.
    pub requests: usize,
    /// The most bytes of a request; 1 MiB by default.
    pub body_bytes: usize,
    /// How many tokens of long prompts are read between two steps of the other texts; 256 by default.
    pub prefill: usize,
    /// How many tokens the caches of texts that have ended may hold, for each model of a combination; 4,096 by default. A
    /// prompt that begins like such a text, as the next turn of a chat does, reads only the rest.
    pub cached_tokens: usize,
    /// The most tokens that a request may ask for, for each text; 4,096 by default.
    pub tokens: usize,
    /// The most texts that a request may ask for, over all of its prompts; 256 by default.
    pub texts: usize,
    /// The seconds after which a request is ended; 600 by default. A client that reads a stream slowly has as long again, and
    /// loses the rest then.
    pub seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 32,
            queue: 512,
            requests: 512,
            prefill: 256,
            cached_tokens: 4096,
            body_bytes: 1 << 20,
            tokens: 4096,
            texts: 256,
            seconds: 600.0,
        }
    }
}

/// When texts are written by speculative decoding. Texts are the same with it and without.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Speculation {
    /// A model drafts while at most this many texts of a combination are generated at once; 2 by default. 0 switches it off.
    pub rows: usize,
    /// The name of a model with the same `path` as another, such as one with a smaller `weight_type`. It drafts for the combinations of
    /// which the other is a model; for others, and by default, it is one of the combination's models.
    pub draft: Option<String>,
}

impl Default for Speculation {
    fn default() -> Self {
        Self { rows: 2, draft: None }
    }
}

impl Config {
    /// A configuration without models.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            server: ServerConfig::default(),
            models: BTreeMap::new(),
            combinations: BTreeMap::new(),
            defaults: Defaults::default(),
            limits: Limits::default(),
            speculation: Speculation::default(),
        }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`Error`], naming line and key, if it cannot be read, is not TOML, has an unknown or missing key or a value of a wrong
    /// type, or contradicts itself.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, Error> {
        let name = file.as_ref().display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| Error::file(&name, error.to_string()))?;
        Self::parse(&text, &name)
    }

    /// Reads the text of a configuration file; errors name `file`.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let of_toml = |error: &toml::de::Error, key: &str| Error::toml(file, text, error, key);
        let document = toml::Deserializer::parse(text).map_err(|error| of_toml(&error, ""))?;
        let config: Self = serde_path_to_error::deserialize(document)
            .map_err(|error| of_toml(error.inner(), &error.path().to_string()))?;
        config.check().map_err(|(key, at, reason)| {
            let line = at.and_then(|at| text.get(..at)).map(|before| before.matches('\n').count() + 1);
            let line = line.or_else(|| error::line_of_key(text, &key));
            Error::at(file, line, &key, reason)
        })?;
        Ok(config)
    }

    /// The other models with the path of this one.
    pub(crate) fn others_with_path_of(&self, name: &str) -> BTreeSet<String> {
        let path = |name: &str| self.models.get(name).map(|model| &model.path);
        let others = self.models.keys().filter(|other| *other != name && path(other) == path(name));
        others.cloned().collect()
    }

    /// Checks what the types do not say. A fault is a key, its place in the file if that is known, and the reason.
    fn check(&self) -> Result<(), (String, Option<usize>, String)> {
        let fault = |key: String, reason: String| Err((key, None, reason));
        for (name, model) in &self.models {
            if let Err((key, reason)) = model.check() {
                return fault(format!("models.{name}.{key}"), reason.into());
            }
            if let Some(base) = &model.base {
                match self.models.get(base) {
                    None => {
                        return fault(format!("models.{name}.base"), format!("there is no model `{base}`"));
                    }
                    Some(other) if other.base.is_some() => {
                        let reason = format!("`{base}` is an adapter itself");
                        return fault(format!("models.{name}.base"), reason);
                    }
                    Some(_) => {}
                }
            }
        }
        for (name, combination) in &self.combinations {
            if self.models.contains_key(name) {
                return fault(format!("combinations.{name}"), "a model has the same name".into());
            }
            if let Some((number, _)) = combination.numbers.iter().find(|(_, value)| !value.is_finite()) {
                let key = format!("combinations.{name}.numbers.{number}");
                return fault(key, "it is not finite".into());
            }
            if let Err(error) = combination.try_parse(self.models.keys(), None) {
                let at = combination.formula.span().start;
                return Err((format!("combinations.{name}.formula"), Some(at), error.to_string()));
            }
            for number in combination.numbers.keys() {
                let key = format!("combinations.{name}.numbers.{number}");
                if self.models.contains_key(number) {
                    return fault(key, "a model has the same name".into());
                }
                if !combination.names_number(self.models.keys(), number) {
                    return fault(key, "the formula has no number of this name".into());
                }
            }
        }
        if let Some(draft) = self.speculation.draft.as_ref().filter(|draft| !self.models.contains_key(*draft))
        {
            return fault("speculation.draft".into(), format!("there is no model `{draft}`"));
        }
        if let Some(draft) =
            self.speculation.draft.as_ref().filter(|draft| self.others_with_path_of(draft).is_empty())
        {
            return fault("speculation.draft".into(), format!("no other model has the path of `{draft}`"));
        }
        let positive = [
            ("limits.rows", self.limits.rows),
            ("limits.queue", self.limits.queue),
            ("limits.requests", self.limits.requests),
            ("limits.prefill", self.limits.prefill),
            ("limits.texts", self.limits.texts),
            ("limits.tokens", self.limits.tokens),
            ("limits.body_bytes", self.limits.body_bytes),
            ("defaults.chat_tokens", self.defaults.chat_tokens),
            ("defaults.completion_tokens", self.defaults.completion_tokens),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return fault((*key).into(), "it must be at least 1".into());
        }
        if self.limits.seconds == 0.0 {
            return fault("limits.seconds".into(), "it must be more than 0".into());
        }
        for (key, seconds) in
            [("limits.seconds", self.limits.seconds), ("server.drain_seconds", self.server.drain_seconds)]
        {
            if !(0.0..=1e9).contains(&seconds) {
                return fault(
                    key.into(),
                    format!("it is {seconds}, but must be between 0 and 1,000,000,000"),
                );
            }
        }
        self.defaults.check().or_else(|(key, reason)| fault(format!("defaults.{key}"), reason))
    }
}

impl Defaults {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let sampling = eft::Sampling::default()
            .temperature(self.temperature)
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p);
        match sampling.validate() {
            Err(eft::Error::InvalidParameter { name, value, expected }) => {
                Err((name, format!("it is {value}, but must be {expected}")))
            }
            _ => Ok(()),
        }
    }
}

impl CombinationConfig {
    /// Returns whether the formula names a number, if there are these models. That of a wrong formula is not known.
    ///
    /// ```
    /// use eft_serve::config::CombinationConfig;
    ///
    /// let models = ["large".to_owned(), "tuned".to_owned()];
    /// let combination = CombinationConfig::new("large + alpha*tuned").number("alpha", 1.0).number("beta", 1.0);
    /// assert!(combination.names_number(&models, "alpha"));
    /// assert!(!combination.names_number(&models, "beta"));
    /// ```
    #[must_use]
    pub fn names_number<'a>(&self, models: impl IntoIterator<Item = &'a String>, number: &str) -> bool {
        // It has no meaning without a number that it names.
        self.try_parse(models.into_iter(), Some(number)).is_err()
    }

    /// Reads the formula with stand-ins for the models, and without one of the numbers.
    fn try_parse<'a>(
        &self,
        models: impl Iterator<Item = &'a String>,
        without: Option<&str>,
    ) -> formula::Result<()> {
        // A vocabulary of two tokens cannot fail.
        let Ok(vocab) = eft::Vocab::new("stand-in", ["a", "b"]) else { return Ok(()) };
        let stand_in = eft::from_fn(eft::Host, vocab, |_| Ok(vec![0.0, 0.0]));
        let names = models.map(|name| (name.as_str(), &stand_in));
        let numbers = self.numbers.iter().filter(|(name, _)| Some(name.as_str()) != without);
        let numbers = numbers.map(|(name, value)| (name.as_str(), *value));
        formula::parse_with(self.formula.get_ref(), names, numbers).map(drop)
    }
}
