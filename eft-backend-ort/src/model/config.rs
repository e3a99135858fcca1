//! [`Config`]: the contents of `config.json` and `generation_config.json` next to a model. Either may be missing.
use std::path::Path;

use eft_core::TokenId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::files::Files;
use crate::{Error, Result};

/// Facts about a model that are needed and not in its graph.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Config {
    /// The largest number of tokens in a row; `None` if unknown.
    pub(super) context: Option<usize>,
    /// The token ids that end a text.
    pub(super) eos: Vec<TokenId>,
    /// Whether some layers attend to a sliding window that is shorter than the context.
    pub(super) sliding_window: bool,
}

/// The fields of `config.json`; multimodal models hold those of their language model in `text_config`.
#[derive(Deserialize, Default)]
struct Raw {
    #[serde(alias = "n_positions", alias = "n_ctx", alias = "max_seq_len", alias = "seq_length")]
    max_position_embeddings: Option<usize>,
    eos_token_id: Option<Ids>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    text_config: Option<Box<Raw>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(i64),
    Many(Vec<i64>),
}

#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<Ids>,
}

impl Ids {
    /// The ids. Integers that no token can have, such as −1, are left out: files in use have them.
    fn list(self) -> Vec<TokenId> {
        let ids = match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        };
        ids.into_iter().filter_map(|id| TokenId::try_from(id).ok()).collect()
    }
}

impl Config {
    pub(super) fn read(files: &Files) -> Result<Self> {
        let raw = files
            .companion("config.json")
            .map(|file| read_json::<Raw>(&file))
            .transpose()?
            .unwrap_or_default();
        let generation = files.companion("generation_config.json").map(|file| read_json::<Generation>(&file));
        let generation = generation.transpose()?.and_then(|generation| generation.eos_token_id);
        let inner = raw.text_config.map(|inner| *inner).unwrap_or_default();
        let context = raw.max_position_embeddings.or(inner.max_position_embeddings);
        let window = raw.sliding_window.or(inner.sliding_window);
        let used = raw.use_sliding_window.or(inner.use_sliding_window) != Some(false);
        let lists = [raw.eos_token_id, inner.eos_token_id, generation].into_iter().flatten();
        let mut eos: Vec<_> = lists.flat_map(Ids::list).collect();
        eos.sort_unstable();
        eos.dedup();
        let sliding_window =
            used && window.is_some_and(|window| context.is_none_or(|context| window < context));
        Ok(Self { context, eos, sliding_window })
    }
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Io { file: file.into(), source })?;
    serde_json::from_str(&text).map_err(|e| Error::Config { file: file.into(), source: e.into() })
}
