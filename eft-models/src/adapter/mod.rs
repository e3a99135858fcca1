//! [`Adapter`]: a LoRA adapter, or the weighted sum of several.
//!
//! Hu et al. 2021 (LoRA), arXiv 2106.09685; Kalajdzievski 2023 (rank-stabilised scale), arXiv 2312.03732; Liu et al. 2024
//! (DoRA), arXiv 2402.09353; Huang et al. 2023 (weighted sums), arXiv 2307.13269.
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
mod peft;
mod stored;
mod sum;
#[cfg(test)]
mod tests;
mod tokens;

use std::path::Path;

use peft::PeftAdapter;
pub use stored::{AdapterWeights, BaseWeight, StoredChange, StoredLowRank};
use sum::Part;

use crate::Result;
use crate::spec::{DecoderSpec, LinearSpec, NormSpec};

/// A LoRA adapter, or the weighted sum of several.
///
/// [`open`](Self::open) reads what PEFT saves: a folder with `adapter_config.json` and `adapter_model.safetensors` (or
/// `adapter_model.bin`), both read into memory. It may change linear layers, also with trained lengths of rows (DoRA) and
/// biases (`lora_bias`), the embedding, and the output head, have whole modules in place of the base's
/// (`modules_to_save`), and rows of its own for some tokens (`trainable_token_indices`).
///
/// The layers that it changes, their ranks and their scales are chosen as in PEFT 0.21: `target_modules`,
/// `exclude_modules`, `layers_to_transform`, `layers_pattern`, `rank_pattern` and `alpha_pattern` are interpreted as
/// PEFT does. An adapter that uses a feature which is not supported is refused with an error that names the field.
pub struct Adapter {
    name: String,
    parts: Vec<Part>,
}

impl Adapter {
    /// Makes an adapter of this name from tensors of any format.
    pub fn new(name: impl Into<String>, weights: impl AdapterWeights + 'static) -> Self {
        let name = name.into();
        let part = Part { name: name.clone(), stored: Box::new(weights), weight: 1.0 };
        Self { name, parts: vec![part] }
    }

    /// Opens an adapter's folder. The adapter is named after the folder.
    ///
    /// # Errors
    /// * [`Error::Io`](crate::Error::Io) if one of the two files cannot be read.
    /// * [`Error::BadFile`](crate::Error::BadFile) if the configuration is not JSON, or the file of tensors is truncated
    ///   or corrupt.
    /// * [`Error::Config`](crate::Error::Config) if a field is missing, invalid, or asks for something that is not
    ///   supported.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self::new(name, PeftAdapter::open(folder)?))
    }

    /// Adds adapters to one: its change of a layer is the sum of their changes, each multiplied by its weight, `W +
    /// Σ wᵢ·scaleᵢ·Bᵢ·Aᵢ`. This is what PEFT computes with a list of active adapters, and with `add_weighted_adapter` and
    /// the combination type `cat`. (The type `linear` adds the matrices A and B each by themselves, so that its product also
    /// has terms that mix one adapter's B with another's A.) The sum runs as one adapter: its rank is the sum of the
    /// ranks.
    ///
    /// Adapters that cannot be added are refused when the model is loaded, with an error that names them and the module:
    /// where one of them changes a module by DoRA, or replaces it or some of its rows, no other may change this module, and
    /// the weight must be 1.
    ///
    /// ```
    /// use eft_models::Adapter;
    ///
    /// let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens");
    /// let one = Adapter::open(format!("{goldens}/qwen2-lora"))?;
    /// let other = Adapter::open(format!("{goldens}/qwen2-rslora"))?;
    /// assert_eq!(Adapter::sum("both", [(one, 0.7), (other, -0.3)]).name(), "both");
    /// # Ok::<(), eft_models::Error>(())
    /// ```
    pub fn sum(name: impl Into<String>, adapters: impl IntoIterator<Item = (Adapter, f32)>) -> Self {
        let weighted = |(adapter, weight): (Self, f32)| {
            let Self { name, parts } = adapter;
            let single = parts.len() == 1;
            parts.into_iter().map(move |part| Part {
                name: if single { name.clone() } else { part.name },
                weight: weight * part.weight,
                stored: part.stored,
            })
        };
        Self { name: name.into(), parts: adapters.into_iter().flat_map(weighted).collect() }
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

    /// Checks that every tensor belongs to a module of the base, and that all weights are numbers.
    pub(crate) fn check(&self, base: &DecoderSpec) -> Result<()> {
        for part in &self.parts {
            if !part.weight.is_finite() {
                return Err(part.stored.error(&part.name, format!("has the weight {}", part.weight)));
            }
            part.stored.check(base)?;
        }
        Ok(())
    }

    /// The change of a linear layer; `None` if the adapter leaves it alone.
    pub(crate) fn linear(
        &self,
        base: &DecoderSpec,
        linear: &LinearSpec,
        own: &BaseWeight<'_>,
    ) -> Result<Option<StoredChange<'_>>> {
        self.change(&linear.name, |part| part.linear(base, linear, own))
    }

    /// The change of the embedding; `None` if the adapter leaves it alone.
    pub(crate) fn embedding(
        &self,
        base: &DecoderSpec,
        own: &BaseWeight<'_>,
    ) -> Result<Option<StoredChange<'_>>> {
        self.change(&base.embedding, |part| part.embedding(base, own))
    }

    /// The norm in place of one of the base's; `None` if the adapter leaves it alone.
    pub(crate) fn norm(&self, norm: &NormSpec) -> Result<Option<StoredChange<'_>>> {
        self.change(&norm.name, |part| part.norm(norm))
    }

    fn change<'a>(
        &'a self,
        module: &str,
        of_part: impl Fn(&'a dyn AdapterWeights) -> Result<Option<StoredChange<'a>>>,
    ) -> Result<Option<StoredChange<'a>>> {
        let mut changes = Vec::new();
        for part in &self.parts {
            changes.extend(of_part(&*part.stored)?.map(|change| (part, change)));
        }
        sum::sum(module, changes)
    }

    /// An error that names the file of the first of the adapters, and a module.
    pub(crate) fn error(&self, module: &str, reason: String) -> crate::Error {
        match self.parts.first() {
            Some(part) => part.stored.error(module, reason),
            None => crate::Error::BadTensor { file: self.name.clone().into(), tensor: module.into(), reason },
        }
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|part| (&part.name, part.weight)).collect();
        f.debug_struct("Adapter").field("name", &self.name).field("parts", &parts).finish()
    }
}
