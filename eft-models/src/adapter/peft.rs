//! [`PeftAdapter`]: the tensors of an adapter in the format that PEFT saves.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eft_core::TokenId;

use super::config::LoraConfig;
use super::stored::{AdapterWeights, BaseWeight, StoredChange, StoredLowRank};
use crate::spec::{DecoderSpec, LinearSpec, NormKind, NormSpec};
use crate::tensor_file::TensorFile;
use crate::tensors::RawTensor;
use crate::{Error, Result};

/// A folder with `adapter_config.json` and `adapter_model.safetensors` (or `adapter_model.bin`), both read into memory.
pub(super) struct PeftAdapter {
    folder: PathBuf,
    tensors: TensorFile,
    config: LoraConfig,
}

impl PeftAdapter {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let config = LoraConfig::read(&folder.join(CONFIG))?;
        let safe = folder.join(TENSORS);
        let old = folder.join("adapter_model.bin");
        let tensors = TensorFile::read(if !safe.exists() && old.exists() { old } else { safe })?;
        Ok(Self { folder: folder.into(), tensors, config })
    }

    /// The change of a linear layer; `None` if the adapter leaves it alone.
    pub(super) fn low_rank(&self, linear: &LinearSpec) -> Result<Option<StoredLowRank<'_>>> {
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
    fn low_rank_embedding(&self, name: &str, rows: usize, width: usize) -> Result<Option<StoredLowRank<'_>>> {
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
    pub(super) fn saved(&self, module: &str, part: &str, shape: &[usize]) -> Result<Option<RawTensor<'_>>> {
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
    pub(super) fn check_base<'w>(
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

    /// The rows that the adapter has for some tokens, in place of those of a module of `vocab` × `width`. `wanted` are the
    /// tokens that the configuration lists.
    fn rows(
        &self,
        module: &str,
        wanted: Option<&[TokenId]>,
        vocab: usize,
        width: usize,
    ) -> Result<Option<StoredChange<'_>>> {
        let name = format!("{PREFIX}{module}.{TOKEN_ROWS}");
        let (stored, tokens) = match (self.tensors.name(&name), wanted) {
            (None, None) => return Ok(None),
            (Some(stored), Some(tokens)) => (stored, tokens),
            (Some(stored), None) => {
                return Err(self.error(stored, format!("is there, but {CONFIG} lists no tokens for it")));
            }
            (None, Some(_)) => {
                return Err(self.error(&name, format!("is missing, although {CONFIG} lists tokens for it")));
            }
        };
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab) {
            let reason = format!("has a row for the token {token}, but the vocabulary ends at {vocab}");
            return Err(self.error(stored, reason));
        }
        let rows = self.tensors.tensor(stored, &[tokens.len(), width])?;
        Ok(Some(StoredChange::Rows { tokens: tokens.into(), rows }))
    }

    /// The rows that the adapter has in place of those of the output head. A tied head has those of the embedding.
    fn rows_of_head(&self, base: &DecoderSpec, head: &str) -> Result<Option<StoredChange<'_>>> {
        let own = format!("{PREFIX}{head}.{TOKEN_ROWS}");
        let tokens = self.config.tokens(head, false);
        if base.head.is_none() && self.tensors.name(&own).is_none() {
            let tokens = self.config.tokens(&base.embedding, true);
            return self.rows(&base.embedding, tokens, base.vocab, base.hidden);
        }
        self.rows(head, tokens, base.vocab, base.hidden)
    }

    /// Returns the replaced rows or the low-rank change of a module, of which an adapter may have one.
    fn either<'a>(
        &'a self,
        module: &str,
        base: &BaseWeight<'_>,
        rows: Option<StoredChange<'a>>,
        low_rank: Option<StoredLowRank<'a>>,
    ) -> Result<Option<StoredChange<'a>>> {
        let Some(low_rank) = low_rank else { return Ok(rows) };
        if rows.is_some() {
            let reason = "belongs to a module of which some rows are replaced, which is not supported";
            return Err(self.error(low_rank.down.name, reason.into()));
        }
        self.check_base(module, base)?;
        Ok(Some(StoredChange::LowRank(low_rank)))
    }
}

impl AdapterWeights for PeftAdapter {
    /// Refuses an adapter with a tensor that belongs to no module of the model: it would be ignored silently.
    fn check(&self, spec: &DecoderSpec) -> Result<()> {
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
        let of_embedding =
            [".lora_embedding_A", ".lora_embedding_B", ".base_layer.weight", ".weight", TOKEN_ROWS_END];
        let belongs = |tensor: &str| {
            let Some(tensor) = tensor.strip_prefix(PREFIX) else { return false };
            let module = |part: &&str| tensor.strip_suffix(*part);
            of_linear.iter().filter_map(module).any(|module| linears.contains(module))
                || of_embedding.iter().filter_map(module).any(is_embedding)
                || [".weight", ".bias"].iter().filter_map(module).any(|module| norms.contains(module))
                // Of a tied head, which has the embedding's weight.
                || tensor.strip_suffix(".base_layer.weight") == Some(&head.name)
                || tensor.strip_suffix(TOKEN_ROWS_END) == Some(&head.name)
        };
        match self.tensors.names().find(|tensor| !belongs(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                Err(self.error(tensor, "belongs to no module of the base model that can be changed".into()))
            }
        }
    }

    fn linear<'a>(
        &'a self,
        base: &DecoderSpec,
        linear: &LinearSpec,
        own: &BaseWeight<'_>,
    ) -> Result<Option<StoredChange<'a>>> {
        let name = &linear.name;
        if let Some(weight) = self.saved(name, "weight", &linear.stored_shape())? {
            let bias = if linear.bias { self.saved(name, "bias", &[linear.outputs])? } else { None };
            return Ok(Some(StoredChange::Module { weight, bias }));
        }
        let is_head = *name == base.output_head().name;
        let rows = if is_head { self.rows_of_head(base, name)? } else { None };
        let low_rank = self.low_rank(linear)?;
        self.either(name, own, rows, low_rank)
    }

    fn embedding<'a>(&'a self, base: &DecoderSpec, own: &BaseWeight<'_>) -> Result<Option<StoredChange<'a>>> {
        let (name, vocab, width) = (&base.embedding, base.vocab, base.hidden);
        if let Some(weight) = self.saved(name, "weight", &[vocab, width])? {
            return Ok(Some(StoredChange::Module { weight, bias: None }));
        }
        let rows = self.rows(name, self.config.tokens(name, true), vocab, width)?;
        let low_rank = self.low_rank_embedding(name, vocab, width)?;
        self.either(name, own, rows, low_rank)
    }

    fn norm<'a>(&'a self, norm: &NormSpec) -> Result<Option<StoredChange<'a>>> {
        let saved = |part| self.saved(&norm.name, part, &[norm.width]);
        let Some(weight) = saved("weight")? else { return Ok(None) };
        let bias = if norm.kind == NormKind::Layer { saved("bias")? } else { None };
        Ok(Some(StoredChange::Module { weight, bias }))
    }

    fn error(&self, tensor: &str, reason: String) -> Error {
        Error::BadTensor { file: self.folder.join(TENSORS), tensor: tensor.into(), reason }
    }
}

pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const TENSORS: &str = "adapter_model.safetensors";

/// The prefix that PEFT puts before the module names of a causal language model.
const PREFIX: &str = "base_model.model.";

/// The tensor with the rows that some tokens have in place of those of the base, after the name of the module; and the same
/// after a dot.
const TOKEN_ROWS: &str = "token_adapter.trainable_tokens_delta";
const TOKEN_ROWS_END: &str = ".token_adapter.trainable_tokens_delta";
