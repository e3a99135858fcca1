//! [`ModuleSelection`]: which modules an adapter changes.
use serde_json::Value;

use super::pattern::Pattern;
use crate::Result;
use crate::config::Config;

/// Which modules an adapter changes, as PEFT's `check_target_module_exists` decides.
#[derive(Debug, Clone)]
pub(super) struct ModuleSelection {
    /// The configuration file, which errors name.
    file: std::path::PathBuf,
    /// `None` where the file does not say: then the tensors do.
    target: Option<Names>,
    exclude: Option<Names>,
    layers: Option<LayerSelection>,
}

/// Names given as a list, or as one regular expression.
#[derive(Debug, Clone)]
enum Names {
    /// Every linear layer of the blocks.
    AllLinear,
    /// A regular expression that must match the whole name.
    Pattern(Pattern),
    /// Whole names, or their last dotted parts.
    List(Vec<String>),
}

/// The layers that `layers_to_transform` and `layers_pattern` select.
#[derive(Debug, Clone)]
struct LayerSelection {
    layers: Vec<u64>,
    /// The first that matches a name gives its layer.
    patterns: Vec<Pattern>,
}

impl ModuleSelection {
    /// Reads `target_modules`, `exclude_modules`, `layers_to_transform` and `layers_pattern`.
    pub(super) fn read(config: &Config<'_>) -> Result<Self> {
        let target = match config.get("target_modules").and_then(Value::as_str) {
            Some(all) if all.eq_ignore_ascii_case("all-linear") => Some(Names::AllLinear),
            _ => Names::read(config, "target_modules")?,
        };
        let exclude = Names::read(config, "exclude_modules")?;
        let layers = LayerSelection::read(config)?;
        if !matches!(target, Some(Names::List(_)) | None) {
            for field in ["layers_to_transform", "layers_pattern"] {
                if config.get(field).is_some() {
                    return Err(config.error(field, "cannot be combined with `target_modules` as a string"));
                }
            }
        }
        Ok(Self { file: config.file(), target, exclude, layers })
    }

    /// Whether the adapter changes the embedding or the output head of this name, which `all-linear` leaves out; `None`
    /// if the configuration leaves that open.
    pub(super) fn select_outer(&self, name: &str) -> Result<Option<bool>> {
        match self.target {
            Some(Names::AllLinear) => Ok(Some(false)),
            _ => self.select(name),
        }
    }

    /// Whether the adapter changes the linear layer of this name; `None` if the configuration leaves that open, because
    /// it has no `target_modules`.
    pub(super) fn select(&self, name: &str) -> Result<Option<bool>> {
        let error = |field: &str, reason| {
            let (file, field) = (self.file.clone(), field.into());
            crate::Error::Config { file, field, reason }
        };
        let matches = |names: &Names, field| names.match_name(name).map_err(|reason| error(field, reason));
        if let Some(exclude) = &self.exclude
            && matches(exclude, "exclude_modules")?
        {
            return Ok(Some(false));
        }
        if let Some(layers) = &self.layers
            && !layers.match_name(name).map_err(|reason| error("layers_pattern", reason))?
        {
            return Ok(Some(false));
        }
        self.target.as_ref().map(|target| matches(target, "target_modules")).transpose()
    }
}

impl Names {
    fn read(config: &Config<'_>, field: &str) -> Result<Option<Self>> {
        match config.get(field) {
            // PEFT takes an empty string or list for none.
            Some(Value::String(pattern)) if pattern.is_empty() && field == "exclude_modules" => Ok(None),
            Some(Value::String(pattern)) => {
                Pattern::whole(pattern).map(|p| Some(Self::Pattern(p))).map_err(|e| config.error(field, e))
            }
            _ => {
                let names = config.texts(field)?;
                Ok(names.map(|names| Self::List(names.into_iter().map(str::to_owned).collect())))
            }
        }
    }

    fn match_name(&self, name: &str) -> std::result::Result<bool, String> {
        let is_suffix = |suffix: &str| {
            name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self {
            Self::AllLinear => Ok(true),
            Self::Pattern(pattern) => pattern.matches(name),
            Self::List(names) => Ok(names.iter().any(|suffix| is_suffix(suffix))),
        }
    }
}

impl LayerSelection {
    fn read(config: &Config<'_>) -> Result<Option<Self>> {
        let field = "layers_to_transform";
        let one_or_more =
            |value: &Value| -> Vec<Value> { value.as_array().cloned().unwrap_or(vec![value.clone()]) };
        let layers = config.get(field).map(one_or_more).unwrap_or_default();
        let layer = |value: &Value| {
            value
                .as_u64()
                .ok_or_else(|| config.error(field, format!("holds {value}; expected layer numbers")))
        };
        let layers = layers.iter().map(layer).collect::<Result<Vec<_>>>()?;
        let field = "layers_pattern";
        let names = match config.get(field) {
            Some(Value::String(name)) if name.is_empty() => Vec::new(),
            Some(Value::String(name)) => vec![name.as_str()],
            _ => config.texts(field)?.unwrap_or_default(),
        };
        if layers.is_empty() {
            return match names.is_empty() {
                true => Ok(None),
                false => Err(config.error(field, "needs `layers_to_transform`")),
            };
        }
        let patterns = match names.is_empty() {
            true => Pattern::any_layer().map(|pattern| vec![pattern]),
            false => names.into_iter().map(Pattern::layers).collect(),
        };
        let patterns = patterns.map_err(|reason| config.error(field, reason))?;
        Ok(Some(Self { layers, patterns }))
    }

    fn match_name(&self, name: &str) -> std::result::Result<bool, String> {
        for pattern in &self.patterns {
            if let Some(layer) = pattern.number(name)? {
                return Ok(self.layers.contains(&layer));
            }
        }
        Ok(false)
    }
}
