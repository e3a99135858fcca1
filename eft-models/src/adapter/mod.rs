//! [`Adapter`]: a LoRA adapter in the format that PEFT saves.
//!
//! Hu et al. 2021 (LoRA), arXiv 2106.09685; Kalajdzievski 2023 (rank-stabilised scale), arXiv 2312.03732; Liu et al. 2024
//! (DoRA), arXiv 2402.09353.
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
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::LoraConfig;

use crate::spec::{DecoderSpec, LinearSpec};
use crate::tensor_file::TensorFile;
use crate::tensors::RawTensor;
use crate::{Error, Result};

/// A LoRA adapter: a folder with `adapter_config.json` and `adapter_model.safetensors` (or `adapter_model.bin`), both read
/// into memory.
///
/// It may change linear layers, also with trained lengths of rows (DoRA) and biases (`lora_bias`), the embedding, and the
/// output head, and have whole modules in place of the base's (`modules_to_save`).
///
/// The layers that it changes, their ranks and their scales are chosen as in PEFT 0.21: `target_modules`,
/// `exclude_modules`, `layers_to_transform`, `layers_pattern`, `rank_pattern` and `alpha_pattern` are interpreted as
/// PEFT does. An adapter that uses a feature which is not supported is refused with an error that names the field.
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
    /// What is added to the product of B.
    pub(crate) bias: Option<RawTensor<'a>>,
    /// The lengths of the rows of the changed matrix (DoRA).
    pub(crate) magnitude: Option<RawTensor<'a>>,
    pub(crate) scale: f32,
}

impl Adapter {
    /// Opens an adapter's folder. The adapter is named after the folder.
    ///
    /// # Errors
    /// * [`Error::Io`] if one of the two files cannot be read.
    /// * [`Error::BadFile`] if the configuration is not JSON, or the file of tensors is truncated or corrupt.
    /// * [`Error::Config`] if a field is missing, invalid, or asks for something that is not supported.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let config = LoraConfig::read(&folder.join(CONFIG))?;
        let safe = folder.join(TENSORS);
        let old = folder.join("adapter_model.bin");
        let tensors = TensorFile::read(if !safe.exists() && old.exists() { old } else { safe })?;
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, folder: folder.into(), tensors, config })
    }

    /// Returns the adapter's name: that of its folder, unless [`named`](Self::named) changed it.
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
        // The output head is the only linear layer that is not in a numbered block.
        let inside = linear.name.split('.').any(|part| part.bytes().all(|digit| digit.is_ascii_digit()));
        let modules = &self.config.modules;
        let selected =
            if inside { modules.select(&linear.name)? } else { modules.select_outer(&linear.name)? };
        let names = ["lora_A.weight", "lora_B.weight"];
        let Some([down, up]) = self.pair(&linear.name, names, selected)? else { return Ok(None) };
        let rank = self.config.rank(&linear.name)?;
        let vector = |part: &str, wanted: bool| {
            let name = format!("{PREFIX}{}.{part}", linear.name);
            match self.tensors.name(&name) {
                Some(name) if wanted => self.tensors.tensor(name, &[linear.outputs]).map(Some),
                Some(name) => Err(self.error(name, format!("is there, but {CONFIG} does not ask for it"))),
                None if wanted => {
                    Err(self.error(&name, format!("is missing, although {CONFIG} asks for it")))
                }
                None => Ok(None),
            }
        };
        Ok(Some(StoredLowRank {
            down: self.tensors.tensor(down, &[rank, linear.inputs])?,
            up: self.tensors.tensor(up, &[linear.outputs, rank])?,
            bias: vector("lora_B.bias", self.config.biased)?,
            magnitude: vector("lora_magnitude_vector", self.config.dora)?,
            scale: self.config.scale(&linear.name)?,
        }))
    }

    /// The change of an embedding of `rows` × `width`: A is rank × rows, and B width × rank. `None` if the adapter
    /// leaves it alone.
    pub(crate) fn embedding(
        &self,
        name: &str,
        rows: usize,
        width: usize,
    ) -> Result<Option<StoredLowRank<'_>>> {
        let selected = self.config.modules.select_outer(name)?;
        let names = ["lora_embedding_A", "lora_embedding_B"];
        let Some([down, up]) = self.pair(name, names, selected)? else { return Ok(None) };
        if self.config.dora {
            return Err(self.error(down, "changes the embedding with DoRA, which is not supported".into()));
        }
        let rank = self.config.rank(name)?;
        Ok(Some(StoredLowRank {
            down: self.tensors.tensor(down, &[rank, rows])?,
            up: self.tensors.tensor(up, &[width, rank])?,
            bias: None,
            magnitude: None,
            scale: self.config.scale(name)?,
        }))
    }

    /// The two tensors of a module with these last parts of their names; `None` if the adapter leaves the module alone.
    fn pair(&self, module: &str, parts: [&str; 2], selected: Option<bool>) -> Result<Option<[&str; 2]>> {
        let [down, up] = parts.map(|part| format!("{PREFIX}{module}.{part}"));
        match (self.tensors.name(&down), self.tensors.name(&up)) {
            (None, None) if selected != Some(true) => Ok(None),
            (None, None) => {
                Err(self.error(&down, format!("is missing, although {CONFIG} selects its module")))
            }
            // PEFT would ignore the tensor, so the model would be changed by less than the file says.
            (Some(name), _) | (_, Some(name)) if selected == Some(false) => {
                Err(self.error(name, format!("belongs to a module that {CONFIG} does not select")))
            }
            (Some(down), Some(up)) => Ok(Some([down, up])),
            (None, Some(_)) => {
                Err(self.error(&down, format!("is missing, although `{}` is there", parts[1])))
            }
            (Some(_), None) => Err(self.error(&up, format!("is missing, although `{}` is there", parts[0]))),
        }
    }

    /// The tensor that takes the place of one of the base's, since its module is saved as a whole; `None` if it is not.
    pub(crate) fn saved(&self, module: &str, part: &str, shape: &[usize]) -> Result<Option<RawTensor<'_>>> {
        let name = format!("{PREFIX}{module}.{part}");
        match (self.tensors.name(&name), self.config.saves(module)) {
            (Some(name), true) => self.tensors.tensor(name, shape).map(Some),
            (Some(name), false) => {
                Err(self.error(name, format!("belongs to a module that {CONFIG} does not save")))
            }
            (None, true) => Err(self.error(&name, format!("is missing, although {CONFIG} saves its module"))),
            (None, false) => Ok(None),
        }
    }

    /// Refuses an adapter that comes with another weight of the base than the base's own. PEFT saves the weights of
    /// embeddings that it adapts, and would use them.
    pub(crate) fn check_base<'w>(
        &self,
        module: &str,
        own: impl FnOnce() -> Result<RawTensor<'w>>,
    ) -> Result<()> {
        let Some(name) = self.tensors.name(&format!("{PREFIX}{module}.base_layer.weight")) else {
            return Ok(());
        };
        let own = own()?;
        let stored = self.tensors.tensor(name, &own.shape)?;
        if stored.numbers().is_some_and(|numbers| Some(numbers) == own.numbers()) {
            return Ok(());
        }
        Err(self.error(name, "differs from the weight of the base model".into()))
    }

    /// Refuses an adapter with a tensor that belongs to no module of the model: it would be ignored silently.
    pub(crate) fn check(&self, spec: &DecoderSpec) -> Result<()> {
        let head = spec.output_head();
        let linears: BTreeSet<&str> =
            spec.linears().into_iter().chain([&head]).map(|linear| linear.name.as_str()).collect();
        let norms: BTreeSet<&str> = spec.norms().into_iter().map(|norm| norm.name.as_str()).collect();
        let is_embedding = |module: &str| module == spec.embedding;
        let of_linear = [
            ".lora_A.weight",
            ".lora_B.weight",
            ".lora_B.bias",
            ".lora_magnitude_vector",
            ".weight",
            ".bias",
        ];
        let of_embedding = [".lora_embedding_A", ".lora_embedding_B", ".base_layer.weight", ".weight"];
        let belongs = |tensor: &str| {
            let Some(tensor) = tensor.strip_prefix(PREFIX) else { return false };
            let module = |part: &&str| tensor.strip_suffix(*part);
            of_linear.iter().filter_map(module).any(|module| linears.contains(module))
                || of_embedding.iter().filter_map(module).any(is_embedding)
                || [".weight", ".bias"].iter().filter_map(module).any(|module| norms.contains(module))
                // Of a tied head, which has the embedding's weight.
                || tensor.strip_suffix(".base_layer.weight") == Some(&head.name)
        };
        match self.tensors.names().find(|tensor| !belongs(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                Err(self.error(tensor, "belongs to no module of the base model that can be changed".into()))
            }
        }
    }

    pub(crate) fn error(&self, tensor: &str, reason: String) -> Error {
        Error::BadTensor { file: self.folder.join(TENSORS), tensor: tensor.into(), reason }
    }
}

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// The prefix that PEFT puts before the module names of a causal language model.
const PREFIX: &str = "base_model.model.";

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter").field("folder", &self.folder).finish_non_exhaustive()
    }
}
