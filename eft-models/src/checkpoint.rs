//! [`Checkpoint`]: a folder with `config.json` and safetensors files, in Hugging Face's layout.
//!
//! ```
//! use eft_models::Checkpoint;
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert_eq!(checkpoint.spec().family, "llama");
//! assert_eq!(checkpoint.tensor("model.norm.weight", &[32])?.bytes.len(), 32 * 4);
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config;
use crate::spec::{DecoderSpec, LinearSpec};
use crate::tensor_file::{TensorFile, bad_tensor};
use crate::tensors::RawTensor;
use crate::{Error, FieldWarning, Result};

/// A model on disk, in Hugging Face's layout.
pub struct Checkpoint {
    name: String,
    folder: PathBuf,
    spec: DecoderSpec,
    files: Vec<TensorFile>,
    /// From a tensor's name to the index of its file.
    tensors: BTreeMap<String, usize>,
    warnings: Vec<FieldWarning>,
}

impl Checkpoint {
    /// Opens a folder: reads its configuration, and maps its safetensors files into memory, so that a weight is read
    /// when it is first used.
    ///
    /// # The files must not change
    /// The files must not be changed or truncated in place as long as the checkpoint, or an engine loaded from it,
    /// exists: that would be undefined behaviour. Replacing a file by renaming another to its name is fine, and is what
    /// download tools do. Where you cannot vouch for the files, use [`open_in_memory`](Self::open_in_memory).
    ///
    /// # Errors
    /// * [`Error::AdapterFolder`] if the folder holds a PEFT adapter instead of a model.
    /// * [`Error::Io`] if a file is missing or cannot be read.
    /// * [`Error::BadFile`] if a file is not JSON, or is a truncated or corrupt safetensors file.
    /// * [`Error::UnknownArchitecture`] if the `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: a safe function cannot exclude that somebody changes the file, so the contract is passed on to the
        // user in the documentation above, as in every loader that calls this. Loading gigabytes of weights by copying
        // them would double the memory and the time that every user pays, to guard against a change that no tool makes.
        Self::with_files(folder.as_ref(), |path| unsafe { TensorFile::map(path) })
    }

    /// Opens a folder as [`open`](Self::open) does, but reads its safetensors files into memory at once. The files may
    /// change afterwards.
    ///
    /// # Errors
    /// * [`Error::AdapterFolder`] if the folder holds a PEFT adapter instead of a model.
    /// * [`Error::Io`] if a file is missing or cannot be read.
    /// * [`Error::BadFile`] if a file is not JSON, or is a truncated or corrupt safetensors file.
    /// * [`Error::UnknownArchitecture`] if the `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn open_in_memory(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with_files(folder.as_ref(), TensorFile::read)
    }

    fn with_files(folder: &Path, open: impl Fn(PathBuf) -> Result<TensorFile>) -> Result<Self> {
        let config = folder.join("config.json");
        if !config.exists() && folder.join("adapter_config.json").exists() {
            return Err(Error::AdapterFolder { folder: folder.into() });
        }
        let spec = DecoderSpec::read(config)?;
        let index = folder.join("model.safetensors.index.json");
        let paths = if index.exists() { shards(&index)? } else { vec![folder.join("model.safetensors")] };
        let files = paths.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        let mut tensors = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            tensors.extend(file.names().map(|name| (name.to_string(), index)));
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let warnings = Vec::new();
        let mut checkpoint = Self { name, folder: folder.into(), spec, files, tensors, warnings };
        checkpoint.untie()?;
        Ok(checkpoint)
    }

    /// Uses the saved output head of a model whose configuration ties the head to the embedding, if the two differ. As
    /// in transformers, the configuration is then taken for wrong: fine-tuned models have been saved so.
    fn untie(&mut self) -> Result<()> {
        let (vocab, hidden) = (self.spec.vocab, self.spec.hidden);
        let embedding = format!("{}.weight", self.spec.embedding);
        if self.spec.head.is_some() || self.find(HEAD).is_none() || self.find(&embedding).is_none() {
            return Ok(());
        }
        let (head, own) = (self.tensor(HEAD, &[vocab, hidden])?, self.tensor(&embedding, &[vocab, hidden])?);
        if (head.dtype, &head.bytes) != (own.dtype, &own.bytes) {
            let finding = format!(
                "is true, but `{HEAD}` is saved and differs from `{embedding}`: the saved head is used"
            );
            self.warnings.push(FieldWarning::new(
                self.folder.join("config.json"),
                "tie_word_embeddings",
                finding,
            ));
            self.spec.head = Some(LinearSpec::new("lm_head".into(), hidden, vocab, false));
        }
        Ok(())
    }

    /// The name under which the files hold a tensor, and the index of its file. If the files have no such name, the name
    /// without its first part is looked up.
    fn find(&self, name: &str) -> Option<(&String, usize)> {
        let short = name.split_once('.').map(|(_, rest)| rest);
        let found = std::iter::once(name).chain(short).find_map(|n| self.tensors.get_key_value(n));
        found.map(|(name, file)| (name, *file))
    }

    /// Returns the fields of the configuration that are wrong, where the model can be loaded nevertheless.
    pub fn warnings(&self) -> &[FieldWarning] {
        &self.warnings
    }

    /// Returns the checkpoint's name: that of its folder, unless [`named`](Self::named) changed it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renames the checkpoint.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Returns the folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the architecture of the model.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Returns the size of all tensors in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(TensorFile::size).sum()
    }

    /// Returns the tensor of the given name and shape. If the files have no such name, the name without its first
    /// part is looked up (`h.0.ln_1.weight` for `transformer.h.0.ln_1.weight`): some files leave the prefix out.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if the tensor is missing, or has another shape, or a type other than F32, F16 and BF16.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        // A model whose head is tied to its embedding may be saved with the head only.
        let tied = || self.spec.head.is_none() && name.strip_suffix(".weight") == Some(&self.spec.embedding);
        let Some((name, file)) = self.find(name).or_else(|| self.find(HEAD).filter(|_| tied())) else {
            return Err(bad_tensor(&self.folder, name, "is missing".into()));
        };
        self.files[file].tensor(name, shape)
    }
}

/// The name of the output head's tensor.
const HEAD: &str = "lm_head.weight";

/// Returns the paths of the files that an index of shards (`model.safetensors.index.json`) names, without repetition.
///
/// # Errors
/// * [`Error::Io`] if the index cannot be read.
/// * [`Error::BadFile`] if it is not such an index, or names a file outside its own folder.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let value = config::read(index)?;
    let wrong = |reason: &str| Error::BadFile { file: index.into(), reason: reason.into() };
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("it has no `weight_map`"))?;
    let mut names = std::collections::BTreeSet::new();
    for name in map.values() {
        let name =
            name.as_str().ok_or_else(|| wrong("its `weight_map` holds a value that is not a string"))?;
        // An index must not make us read files from elsewhere.
        if Path::new(name).components().count() != 1 || name.contains("..") {
            return Err(wrong(&format!("its `weight_map` points outside its folder: {name}")));
        }
        names.insert(name);
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("folder", &self.folder).field("family", &self.spec.family).finish()
    }
}
