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

    /// Refuses an adapter with a tensor that belongs to none of the given layers: it would be ignored silently.
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

/// The prefix that PEFT puts before the module names of a causal language model.
const PREFIX: &str = "base_model.model.";

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn golden(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "goldens", name].iter().collect()
    }

    /// An adapter with another configuration than its own.
    fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Adapter> {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read(golden(name).join(CONFIG)).unwrap();
        let mut config = serde_json::from_slice(&text).unwrap();
        change(&mut config);
        std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
        std::fs::copy(golden(name).join(TENSORS), folder.path().join(TENSORS)).unwrap();
        Adapter::open(folder.path())
    }

    /// A linear layer of the tiny Qwen2.
    fn linear(name: &str) -> LinearSpec {
        let spec = crate::DecoderSpec::read(golden("qwen2").join("config.json")).unwrap();
        spec.linears().into_iter().find(|linear| linear.name == name).unwrap().clone()
    }

    /// The rank and scale of a layer's change.
    fn change(adapter: &Adapter, name: &str) -> Result<Option<(usize, f32)>> {
        Ok(adapter.low_rank(&linear(name))?.map(|low_rank| (low_rank.down.shape[0], low_rank.scale)))
    }

    #[test]
    fn the_first_pattern_of_the_file_that_matches_counts() {
        let adapter = Adapter::open(golden("qwen2-patterns-lora")).unwrap();
        let change = |name: &str| change(&adapter, name).unwrap();
        // `v_proj` comes before `self_attn.v_proj`, which comes first in the alphabet: alpha is 7, not 20.
        assert_eq!(change("model.layers.0.self_attn.v_proj"), Some((2, 7.0 / 2.0)));
        assert_eq!(change("model.layers.2.self_attn.q_proj"), Some((3, 9.0 / 3.0)));
        assert_eq!(change("model.layers.0.mlp.down_proj"), Some((5, 6.0 / 5.0)));
        // By the look-ahead of `target_modules`, and by `exclude_modules`.
        assert_eq!(change("model.layers.1.self_attn.v_proj"), None);
        assert_eq!(change("model.layers.2.mlp.down_proj"), None);
    }

    #[test]
    fn layers_are_selected_by_number() {
        let adapter = Adapter::open(golden("qwen2-layers-rslora")).unwrap();
        let change = |name: &str| change(&adapter, name).unwrap();
        assert_eq!(change("model.layers.0.self_attn.o_proj"), Some((2, 5.0 / 2.0f32.sqrt())));
        assert_eq!(change("model.layers.2.self_attn.o_proj"), Some((4, 5.0 / 2.0)));
        assert_eq!(change("model.layers.1.self_attn.o_proj"), None);
        assert_eq!(change("model.layers.2.mlp.gate_proj"), None);
        // Without a name, the first number in a module's name is the layer's.
        let unnamed =
            changed("qwen2-layers-rslora", |config| config["layers_pattern"] = Value::Null).unwrap();
        assert!(super::tests::change(&unnamed, "model.layers.1.self_attn.o_proj").unwrap().is_none());
        assert!(super::tests::change(&unnamed, "model.layers.2.self_attn.o_proj").unwrap().is_some());
    }

    #[test]
    fn tensors_and_configuration_must_agree() {
        let name = "model.layers.0.self_attn.q_proj";
        for (field, value) in [
            ("exclude_modules", json!(["q_proj"])),
            ("target_modules", json!(["v_proj"])),
            ("target_modules", json!("q_proj")),
            ("layers_to_transform", json!(1)),
        ] {
            let adapter = changed("qwen2-lora", |config| config[field] = value.clone()).unwrap();
            match change(&adapter, name) {
                Err(Error::BadTensor { reason, .. }) => {
                    assert!(reason.contains("does not select"), "{reason}")
                }
                other => panic!("{field} = {value}: {other:?}"),
            }
        }
        let adapter = changed("qwen2-lora", |config| config["target_modules"] = json!("ALL-linear")).unwrap();
        assert!(change(&adapter, name).unwrap().is_some());
        match change(&adapter, "model.layers.0.mlp.up_proj") {
            Err(Error::BadTensor { reason, .. }) => assert!(reason.starts_with("is missing"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_field() {
        for (field, value) in [
            ("target_modules", json!("(")),
            ("exclude_modules", json!("[a&&b]")),
            ("exclude_modules", json!(3)),
            ("rank_pattern", json!({"q_proj": 0})),
            ("rank_pattern", json!({"q_proj)(": 2})),
            ("alpha_pattern", json!({"q_proj": "two"})),
            ("alpha_pattern", json!([1])),
            ("layers_to_transform", json!(["first"])),
            ("layers_pattern", json!("layers")),
            ("alora_invocation_tokens", json!([1, 2])),
            ("use_dora", json!(true)),
            ("init_lora_weights", json!("pissa")),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("OLoRA")),
            ("init_lora_weights", json!("corda")),
            ("init_lora_weights", json!("loftq")),
            ("init_lora_weights", json!("of next year")),
            ("init_lora_weights", json!(3)),
        ] {
            match changed("qwen2-lora", |config| config[field] = value.clone()).map(drop) {
                Err(Error::Config { field: found, .. }) => assert_eq!(found, field, "{value}"),
                other => panic!("{field} = {value}: {other:?}"),
            }
        }
        for value in [json!(false), json!("gaussian"), json!("eva"), json!("orthogonal"), Value::Null] {
            assert!(
                changed("qwen2-lora", |config| config["init_lora_weights"] = value.clone()).is_ok(),
                "{value}"
            );
        }
        let both = changed("qwen2-lora", |config| {
            config["target_modules"] = json!(".*q_proj");
            config["layers_to_transform"] = json!([0]);
        });
        assert!(matches!(both, Err(Error::Config { field, .. }) if field == "layers_to_transform"));
    }
}
