//! [`LoraConfig`]: the contents of an `adapter_config.json`.
use std::path::{Path, PathBuf};

use eft_core::TokenId;
use serde::Deserialize;
use serde_json::Value;

use super::modules::ModuleSelection;
use super::ordered::OrderedMap;
use super::pattern::Pattern;
use super::tokens::TrainedTokens;
use crate::config::{self, Config};
use crate::{Error, Result};

/// The configuration of a LoRA adapter.
#[derive(Debug, Clone)]
pub(super) struct LoraConfig {
    file: PathBuf,
    pub(super) modules: ModuleSelection,
    rank: usize,
    alpha: f64,
    rank_stabilised: bool,
    /// Whether rows of changed weights are brought to trained lengths.
    pub(super) dora: bool,
    /// Whether the second matrix has a bias.
    pub(super) biased: bool,
    /// The ends of the names of modules that are saved as a whole.
    saved: Vec<String>,
    /// The tokens that have rows of their own.
    tokens: TrainedTokens,
    /// `rank_pattern`, in the order of the file.
    ranks: Vec<(Pattern, usize)>,
    /// `alpha_pattern`, in the order of the file.
    alphas: Vec<(Pattern, f64)>,
}

/// Variants of LoRA that compute something else.
const UNSUPPORTED_FLAGS: [&str; 2] = ["use_qalora", "use_bdlora"];

/// Fields that, if set, request something other than a fixed change of linear layers.
const UNSUPPORTED_FIELDS: [&str; 6] = [
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
];

/// The values of `init_lora_weights` with which PEFT leaves the base model as it is when it loads an adapter. With
/// others, such as `pissa`, it subtracts from the base what the adapter began with.
const INITIALISATIONS: [&str; 5] = ["gaussian", "eva", "orthogonal", "mica", "lora_ga"];

/// The fields whose entries have an order.
#[derive(Deserialize)]
struct Patterns {
    rank_pattern: Option<OrderedMap>,
    alpha_pattern: Option<OrderedMap>,
}

impl LoraConfig {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = config::text(file)?;
        let value = config::parse(file, &text)?;
        let config = Config::new(file, &value);
        match config.text("peft_type")? {
            Some("LORA") => {}
            other => {
                return Err(config.error("peft_type", format!("is {other:?}; only \"LORA\" is supported")));
            }
        }
        for field in UNSUPPORTED_FLAGS {
            if config.flag_or(field, false)? {
                return Err(config.error(field, "is true, which is not supported"));
            }
        }
        for field in UNSUPPORTED_FIELDS {
            if config.get(field).is_some_and(|v| v.as_array().is_none_or(|a| !a.is_empty())) {
                return Err(config.error(field, "is set, which is not supported"));
            }
        }
        if config.text("bias")?.is_some_and(|bias| bias != "none") {
            return Err(config.error("bias", "is trained, which is not supported"));
        }
        const INITIALISATION: &str = "init_lora_weights";
        if let Some(value) = config.get(INITIALISATION).filter(|value| !value.is_boolean())
            && !value.as_str().is_some_and(|name| INITIALISATIONS.contains(&name.to_lowercase().as_str()))
        {
            let reason = format!(
                "is {value}, with which PEFT changes the base model when it loads the adapter: this is not supported; \
                 save the adapter with PEFT's `path_initial_model_for_weight_conversion`, which makes it plain LoRA"
            );
            return Err(config.error(INITIALISATION, reason));
        }
        for field in ["rank_pattern", "alpha_pattern"] {
            if config.get(field).is_some_and(|value| !value.is_object()) {
                return Err(config.error(field, "is not an object"));
            }
        }
        let saved = config.texts("modules_to_save")?.unwrap_or_default();
        let bad = |error: serde_json::Error| Error::BadFile { file: file.into(), reason: error.to_string() };
        let Patterns { rank_pattern, alpha_pattern } = serde_json::from_str(&text).map_err(bad)?;
        Ok(Self {
            file: file.into(),
            modules: ModuleSelection::read(&config)?,
            rank: config.size("r")?,
            alpha: config.number("lora_alpha")?,
            rank_stabilised: config.flag_or("use_rslora", false)?,
            dora: config.flag_or("use_dora", false)?,
            biased: config.flag_or("lora_bias", false)?,
            saved: saved.into_iter().map(str::to_owned).collect(),
            tokens: TrainedTokens::read(&config)?,
            ranks: patterns(&config, "rank_pattern", rank_pattern, |c, f, v| c.as_size(f, v))?,
            alphas: patterns(&config, "alpha_pattern", alpha_pattern, |c, f, v| c.as_number(f, v))?,
        })
    }

    /// Whether a module is saved as a whole. PEFT compares the ends of names, whether or not they are whole parts.
    pub(super) fn saves(&self, module: &str) -> bool {
        self.saved.iter().any(|end| module.ends_with(end))
    }

    /// The tokens that have rows of their own in a module; `None` if there are none.
    pub(super) fn tokens(&self, module: &str, is_embedding: bool) -> Option<&[TokenId]> {
        self.tokens.of(module, is_embedding)
    }

    /// The rank of a module's adapter.
    pub(super) fn rank(&self, module: &str) -> Result<usize> {
        self.first_match("rank_pattern", &self.ranks, module).map(|rank| rank.unwrap_or(self.rank))
    }

    /// The factor of the product of a module's two matrices: `alpha / rank`, or `alpha / √rank` with rank-stabilised
    /// LoRA.
    pub(super) fn scale(&self, module: &str) -> Result<f32> {
        let rank = self.rank(module)? as f64;
        let alpha = self.first_match("alpha_pattern", &self.alphas, module)?.unwrap_or(self.alpha);
        Ok((alpha / if self.rank_stabilised { rank.sqrt() } else { rank }) as f32)
    }

    /// The value of the first pattern that matches a module's name, as PEFT's `get_pattern_key` chooses it.
    fn first_match<T: Copy>(
        &self,
        field: &str,
        patterns: &[(Pattern, T)],
        module: &str,
    ) -> Result<Option<T>> {
        for (pattern, value) in patterns {
            let error = |reason| Error::Config { file: self.file.clone(), field: field.into(), reason };
            if pattern.matches(module).map_err(error)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

/// Compiles the keys and reads the values of one of the two fields of patterns.
fn patterns<T>(
    config: &Config<'_>,
    field: &str,
    map: Option<OrderedMap>,
    read: impl Fn(&Config<'_>, &str, &Value) -> Result<T>,
) -> Result<Vec<(Pattern, T)>> {
    let entries = map.unwrap_or_default().0.into_iter();
    let compile = |(key, value): (String, Value)| {
        let pattern = Pattern::suffix(&key).map_err(|reason| config.error(field, reason))?;
        Ok((pattern, read(config, field, &value)?))
    };
    entries.map(compile).collect()
}
