//! [`Adapter`]: a low-rank change of a checkpoint's matrices, in the form that PEFT saves.
//!
//! Hu et al. 2021 (LoRA), arXiv 2106.09685; Kalajdzievski 2023 (rank-stabilised scale), arXiv 2312.03732.
//!
//! ```
//! use eft_models::Adapter;
//!
//! let adapter = Adapter::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/qwen2-lora"))?;
//! assert_eq!(adapter.name(), "qwen2-lora");
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{self, Config};
use crate::spec::LinearSpec;
use crate::tensors::{RawTensor, TensorFile};
use crate::{Error, Result};

/// An adapter on disk: `adapter_config.json` and `adapter_model.safetensors`.
pub struct Adapter {
    name: String,
    folder: PathBuf,
    tensors: TensorFile,
    rank: usize,
    alpha: f64,
    rank_stabilised: bool,
    ranks: BTreeMap<String, f64>,
    alphas: BTreeMap<String, f64>,
}

/// The change of one matrix: `scale·B·A` is added to it.
pub(crate) struct Change<'a> {
    pub(crate) down: RawTensor<'a>,
    pub(crate) up: RawTensor<'a>,
    pub(crate) scale: f32,
}

impl Adapter {
    /// Opens a folder, whose name becomes the adapter's.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::BadFile`], and [`Error::Config`] for a kind of adapter other than plain or
    /// rank-stabilised LoRA.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let file = folder.join("adapter_config.json");
        let value = config::read(&file)?;
        let config = Config::new(&file, &value);
        match config.text("peft_type") {
            Some("LORA") => {}
            other => return Err(config.wrong("peft_type", format!("is {other:?}; only LORA is supported"))),
        }
        for field in ["use_dora", "use_qalora", "use_bdlora", "lora_bias"] {
            if config.flag_or(field, false)? {
                return Err(config.wrong(field, "is true, which is not supported"));
            }
        }
        for field in ["modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication"]
        {
            if value.get(field).is_some_and(|v| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty())) {
                return Err(config.wrong(field, "changes more than matrices, which is not supported"));
            }
        }
        if config.text("bias").is_some_and(|bias| bias != "none") {
            return Err(config.wrong("bias", "is trained, which is not supported"));
        }
        let pattern = |field: &str| -> Result<BTreeMap<String, f64>> {
            let Some(fields) = value.get(field).and_then(Value::as_object) else {
                return Ok(BTreeMap::new());
            };
            let number = |(name, v): (&String, &Value)| {
                let number =
                    v.as_f64().ok_or_else(|| config.wrong(field, format!("holds {v}, not a number")))?;
                Ok((name.clone(), number))
            };
            fields.iter().map(number).collect()
        };
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self {
            name,
            folder: folder.into(),
            tensors: TensorFile::open(folder.join("adapter_model.safetensors"))?,
            rank: config.size("r")?,
            alpha: config.number("lora_alpha")?,
            rank_stabilised: config.flag_or("use_rslora", false)?,
            ranks: pattern("rank_pattern")?,
            alphas: pattern("alpha_pattern")?,
        })
    }

    /// Its name: that of its folder, unless it was given another.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same adapter under another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What it does to a matrix; nothing if it leaves that alone.
    pub(crate) fn change(&self, linear: &LinearSpec) -> Result<Option<Change<'_>>> {
        let [down, up] = ["lora_A", "lora_B"].map(|part| format!("{PREFIX}{}.{part}.weight", linear.name));
        let (down, up) = match (self.tensors.name(&down), self.tensors.name(&up)) {
            (Some(down), Some(up)) => (down, up),
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(self.wrong(&down, "is missing, while its other half is there")),
            (Some(_), None) => return Err(self.wrong(&up, "is missing, while its other half is there")),
        };
        let rank = of_pattern(&self.ranks, &linear.name).map_or(self.rank, |rank| rank as usize);
        let alpha = of_pattern(&self.alphas, &linear.name).unwrap_or(self.alpha);
        let scale = if self.rank_stabilised { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 };
        Ok(Some(Change {
            down: self.tensors.tensor(down, &[rank, linear.inputs])?,
            up: self.tensors.tensor(up, &[linear.outputs, rank])?,
            scale: scale as f32,
        }))
    }

    /// Every tensor belongs to one of the matrices: none is left out in silence.
    pub(crate) fn check(&self, linears: &[&LinearSpec]) -> Result<()> {
        let belongs = |tensor: &str| {
            let name = tensor.strip_prefix(PREFIX).and_then(|t| t.strip_suffix(".weight"));
            let name = name.and_then(|n| n.strip_suffix(".lora_A").or(n.strip_suffix(".lora_B")));
            name.is_some_and(|name| linears.iter().any(|l| l.name == name))
        };
        match self.tensors.names().find(|tensor| !belongs(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                let reason =
                    "changes nothing that the base has, or something other than a matrix of its blocks";
                Err(self.wrong(tensor, reason))
            }
        }
    }

    fn wrong(&self, tensor: &str, reason: &str) -> Error {
        let file = self.folder.join("adapter_model.safetensors");
        Error::BadTensor { file, tensor: tensor.into(), reason: reason.into() }
    }
}

/// What PEFT puts before the names of a causal language model.
const PREFIX: &str = "base_model.model.";

/// PEFT's patterns are ends of names.
fn of_pattern(pattern: &BTreeMap<String, f64>, name: &str) -> Option<f64> {
    let ends = |end: &str| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    pattern.iter().find(|(end, _)| ends(end)).map(|(_, value)| *value)
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter")
            .field("folder", &self.folder)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}
