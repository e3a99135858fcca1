//! [`ModelConfig`]: a model as a configuration file names it.
use std::fmt;
use std::str::FromStr;

use eft::candle::{CacheType, WeightType};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A model: the name of a folder, a GGUF file or a model on the Hugging Face hub, or a table that says more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The folder, GGUF file, id on the hub, or with the feature `remote` the url of a server. Of an adapter, its folder.
    pub path: String,
    /// For a LoRA adapter, the name of the model that it belongs to.
    pub base: Option<String>,
    /// For a model on a server, the folder or id of its tokenizer.
    pub tokenizer: Option<String>,
    /// The library that runs the model; candle if it is not given. An adapter runs with its base.
    pub backend: Option<ModelBackend>,
    /// The type in which candle keeps keys and values; f32 if it is not given. An adapter has that of its base.
    pub cache_type: Option<CacheType>,
    /// The type that candle quantises the weights to; as the files store them if it is not given. An adapter has that of its base.
    pub weight_type: Option<WeightType>,
}

/// A library that runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelBackend {
    /// candle.
    Candle,
    /// libtorch, with the feature `tch`.
    Tch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    path: String,
    base: Option<String>,
    tokenizer: Option<String>,
    backend: Option<ModelBackend>,
    #[serde(default, deserialize_with = "by_name")]
    cache_type: Option<CacheType>,
    #[serde(default, deserialize_with = "by_name")]
    weight_type: Option<WeightType>,
}

fn by_name<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

/// Reads a model. Unlike an untagged enum, it passes on which key of a table is at fault.
struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = ModelConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a model, or a table with its `path`")
    }

    fn visit_str<E>(self, path: &str) -> Result<ModelConfig, E> {
        Ok(ModelConfig::new(path))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ModelConfig, A::Error> {
        let ModelTable { path, base, tokenizer, backend, cache_type, weight_type } =
            ModelTable::deserialize(MapAccessDeserializer::new(table))?;
        Ok(ModelConfig { path, base, tokenizer, backend, cache_type, weight_type })
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModelVisitor)
    }
}

impl ModelConfig {
    /// A model of its own.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            base: None,
            tokenizer: None,
            backend: None,
            cache_type: None,
            weight_type: None,
        }
    }

    /// Whether the model is on a server, and the path its url.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.path.starts_with("http://") || self.path.starts_with("https://")
    }

    /// Checks what the types do not say. A fault is a key and the reason.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        match self {
            Self { base: Some(_), backend: Some(_), .. } => Err(("backend", "an adapter runs with its base")),
            Self { backend: Some(_), .. } if self.is_remote() => {
                Err(("backend", "the model runs on another server"))
            }
            Self { backend: Some(ModelBackend::Tch), .. } if !cfg!(feature = "tch") => {
                Err(("backend", "this server was built without the feature `tch`"))
            }
            Self { base: Some(_), cache_type: Some(_), .. } => {
                Err(("cache_type", "an adapter has the cache of its base"))
            }
            Self { cache_type: Some(_), .. } if self.is_remote() => {
                Err(("cache_type", "the model runs on another server"))
            }
            Self { cache_type: Some(kind), backend: Some(ModelBackend::Tch), .. }
                if *kind != CacheType::F32 =>
            {
                Err(("cache_type", "libtorch keeps keys and values in the type that it computes in"))
            }
            Self { base: Some(_), weight_type: Some(_), .. } => {
                Err(("weight_type", "an adapter has the weights of its base"))
            }
            Self { weight_type: Some(_), .. } if self.is_remote() => {
                Err(("weight_type", "the model runs on another server"))
            }
            Self { weight_type: Some(kind), backend: Some(ModelBackend::Tch), .. }
                if *kind != WeightType::Stored =>
            {
                Err(("weight_type", "only candle quantises weights while it loads a model"))
            }
            Self { tokenizer: Some(_), .. } if !self.is_remote() => Err((
                "tokenizer",
                "only a model on another server is given a tokenizer; others have one in their files",
            )),
            _ if self.is_remote() && !cfg!(feature = "remote") => {
                Err(("path", "it is a url, and this server was built without the feature `remote`"))
            }
            Self { base: Some(_), .. } if self.is_remote() => {
                Err(("path", "an adapter is a folder, not a url"))
            }
            _ => Ok(()),
        }
    }

    /// The same as a LoRA adapter of the model of this name.
    #[must_use]
    pub fn of_base(self, base: impl Into<String>) -> Self {
        Self { base: Some(base.into()), ..self }
    }
}
