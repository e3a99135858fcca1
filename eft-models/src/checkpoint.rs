//! [`Checkpoint`]: a folder of `config.json` and safetensors files, in Hugging Face's layout, mapped into memory.
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
use crate::spec::DecoderSpec;
use crate::tensors::{RawTensor, TensorFile, bad};
use crate::{Error, Result};

/// A model on disk. Nothing of it is in memory until it is read.
pub struct Checkpoint {
    name: String,
    folder: PathBuf,
    spec: DecoderSpec,
    files: Vec<TensorFile>,
    /// Tensor → index of its file.
    tensors: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens a folder: reads its configuration and the headers of its tensors' files.
    ///
    /// # Errors
    /// Those of [`DecoderSpec::read`]; [`Error::Io`] for a missing file or shard; [`Error::BadFile`] for one whose
    /// header contradicts itself.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let spec = DecoderSpec::read(folder.join("config.json"))?;
        let index = folder.join("model.safetensors.index.json");
        let paths = if index.exists() { shards(&index)? } else { vec![folder.join("model.safetensors")] };
        let files = paths.into_iter().map(TensorFile::open).collect::<Result<Vec<_>>>()?;
        let mut tensors = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            tensors.extend(file.names().map(|name| (name.to_string(), index)));
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, folder: folder.into(), spec, files, tensors })
    }

    /// Its name: that of its folder, unless it was given another.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same checkpoint under another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the model is made of.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(TensorFile::bytes).sum()
    }

    /// A tensor by name and shape. Names may lack their first part, which some files leave out.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if it is missing, or of another shape, or of a type that weights do not have.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        let short = name.split_once('.').map(|(_, rest)| rest);
        let found = std::iter::once(name).chain(short).find_map(|n| self.tensors.get_key_value(n));
        let Some((name, &file)) = found else {
            return Err(bad(&self.folder, name, "is missing".into()));
        };
        self.files[file].tensor(name, shape)
    }
}

/// The files that an index of shards names, each once, beside it.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadFile`] for one that is broken, or names files elsewhere.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let value = config::read(index)?;
    let wrong = |reason: &str| Error::BadFile { file: index.into(), reason: reason.into() };
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("it has no `weight_map`"))?;
    let mut names = std::collections::BTreeSet::new();
    for name in map.values() {
        let name =
            name.as_str().ok_or_else(|| wrong("its `weight_map` holds something that is no file name"))?;
        // A checkpoint's files are beside its index, nowhere else.
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
