//! [`Adapter`]: a LoRA adapter in the format that PEFT saves.
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
mod config;
mod modules;
mod ordered;
mod pattern;

use std::path::{Path, PathBuf};

use config::LoraConfig;

use crate::spec::LinearSpec;
use crate::tensor_file::TensorFile;
use crate::tensors::RawTensor;
use crate::{Error, Result};

/// A LoRA adapter: a folder with `adapter_config.json` and `adapter_model.safetensors`, both read into memory.
///
/// Which layers it changes, and by which rank and scale, follows PEFT 0.21: `target_modules`, `exclude_modules`,
/// `layers_to_transform`, `layers_pattern`, `rank_pattern` and `alpha_pattern` are interpreted as PEFT does. An adapter
/// that uses a feature which is not supported is refused with an error that names the field.
pub struct Adapter {
    name: String,
    folder: PathBuf,
    tensors: TensorFile,
    config: LoraConfig,
}

/// The change of one weight matrix: `scale·B·A` is added to it.
pub(crate) struct StoredLowRank<'a> {
    /// A: rank × inputs.
    pub(crate) down: RawTensor<'a>,
    /// B: outputs × rank.
    pub(crate) up: RawTensor<'a>,
    pub(crate) scale: f32,
}

impl Adapter {
    /// Opens an adapter's folder. The adapter is named after the folder.
    ///
    /// # Errors
    /// * [`Error::Io`] if one of the two files cannot be read.
    /// * [`Error::BadFile`] if the configuration is not JSON, or the file of tensors is truncated or corrupt.
    /// * [`Error::Config`] if a field is missing, invalid, or asks for something other than plain or rank-stabilised
    ///   LoRA of linear layers.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let config = LoraConfig::read(&folder.join(CONFIG))?;
        let tensors = TensorFile::read(folder.join(TENSORS))?;
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, folder: folder.into(), tensors, config })
    }

    /// The adapter's name: its folder's, unless [`named`](Self::named) changed it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renames the adapter.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The change of a linear layer; `None` if the adapter leaves it alone.
    pub(crate) fn low_rank(&self, linear: &LinearSpec) -> Result<Option<StoredLowRank<'_>>> {
        let [down, up] = ["lora_A", "lora_B"].map(|part| format!("{PREFIX}{}.{part}.weight", linear.name));
        let selected = self.config.modules.select(&linear.name)?;
        let (down, up) = match (self.tensors.name(&down), self.tensors.name(&up)) {
            (None, None) if selected != Some(true) => return Ok(None),
            (None, None) => {
                return Err(self.error(&down, format!("is missing, although {CONFIG} selects its module")));
            }
            // PEFT would ignore the tensor, so the model would be changed by less than the file says.
            (Some(name), _) | (_, Some(name)) if selected == Some(false) => {
                return Err(self.error(name, format!("belongs to a module that {CONFIG} does not select")));
            }
            (Some(down), Some(up)) => (down, up),
            (None, Some(_)) => return Err(self.error(&down, "is missing, although `lora_B` is there".into())),
            (Some(_), None) => return Err(self.error(&up, "is missing, although `lora_A` is there".into())),
        };
        let rank = self.config.rank(&linear.name)?;
        Ok(Some(StoredLowRank {
            down: self.tensors.tensor(down, &[rank, linear.inputs])?,
            up: self.tensors.tensor(up, &[linear.outputs, rank])?,
            scale: self.config.scale(&linear.name)?,
        }))
    }

    /// Refuses an adapter with a tensor that belongs to none of the given layers: it would be ignored in silence.
    pub(crate) fn check(&self, linears: &[&LinearSpec]) -> Result<()> {
        let belongs = |tensor: &str| {
            let name = tensor.strip_prefix(PREFIX).and_then(|t| t.strip_suffix(".weight"));
            let name = name.and_then(|n| n.strip_suffix(".lora_A").or(n.strip_suffix(".lora_B")));
            name.is_some_and(|name| linears.iter().any(|l| l.name == name))
        };
        match self.tensors.names().find(|tensor| !belongs(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                Err(self.error(tensor, "belongs to no linear layer of the base model's blocks".into()))
            }
        }
    }

    fn error(&self, tensor: &str, reason: String) -> Error {
        Error::BadTensor { file: self.folder.join(TENSORS), tensor: tensor.into(), reason }
    }
}

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// What PEFT puts before the module names of a causal language model.
const PREFIX: &str = "base_model.model.";

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter").field("folder", &self.folder).finish_non_exhaustive()
    }
}
