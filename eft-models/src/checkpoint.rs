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

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::config;
use crate::spec::DecoderSpec;
use crate::{Error, Result};

/// A model on disk. Nothing of it is in memory until it is read.
pub struct Checkpoint {
    folder: PathBuf,
    spec: DecoderSpec,
    files: Vec<File>,
    /// Tensor → index of its file.
    tensors: BTreeMap<String, usize>,
}

struct File {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    /// Where tensors begin.
    data: usize,
}

/// A tensor as it is stored.
#[derive(Debug, Clone)]
pub struct RawTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Type of its entries.
    pub dtype: Dtype,
    /// Row after row, little-endian.
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

/// Types that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE.
    F16,
    /// 16 bits, with the exponent of 32.
    BF16,
}

impl Dtype {
    /// Bytes of an entry.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
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
        let files = paths.into_iter().map(File::open).collect::<Result<Vec<_>>>()?;
        let mut tensors = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            tensors.extend(file.metadata.tensors().into_keys().map(|name| (name, index)));
        }
        Ok(Self { folder: folder.into(), spec, files, tensors })
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
        self.files.iter().map(|f| (f.map.len() - f.data) as u64).sum()
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

impl File {
    fn open(path: PathBuf) -> Result<Self> {
        let io = |source| Error::Io { file: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(io)?;
        // SAFETY: the map is read-only. Another process that truncates the file while it is mapped takes this one
        // down, as with every memory-mapped reader; weights of gigabytes leave no better way.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let header = SafeTensors::read_metadata(&map);
        let (header, metadata) =
            header.map_err(|e| Error::BadFile { file: path.clone(), reason: e.to_string() })?;
        // The length of the header comes before it, in eight bytes.
        Ok(Self { path, map, metadata, data: header + 8 })
    }

    fn tensor<'a>(&'a self, name: &'a str, shape: &[usize]) -> Result<RawTensor<'a>> {
        let wrong = |reason: String| bad(&self.path, name, reason);
        let info = self.metadata.info(name).ok_or_else(|| wrong("is missing".into()))?;
        let dtype = match info.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::BF16,
            other => return Err(wrong(format!("is of type {other:?}; expected F32, F16 or BF16"))),
        };
        if info.shape != shape {
            return Err(wrong(format!("has shape {:?}; expected {shape:?}", info.shape)));
        }
        let (start, end) = info.data_offsets;
        let bytes = self.data.checked_add(start).zip(self.data.checked_add(end));
        let bytes = bytes.and_then(|(start, end)| self.map.get(start..end));
        let bytes = bytes.ok_or_else(|| wrong("lies past the end of the file".into()))?;
        if bytes.len() != shape.iter().product::<usize>() * dtype.size() {
            return Err(wrong(format!("has {} bytes, which is not what its shape takes", bytes.len())));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype, bytes: bytes.into() })
    }
}

fn bad(file: &Path, tensor: &str, reason: String) -> Error {
    Error::BadTensor { file: file.into(), tensor: tensor.into(), reason }
}

/// The files that an index names, each once.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
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

impl RawTensor<'_> {
    /// The same tensor with its rows in another order: row `i` is row `order[i]` of this one.
    pub fn reordered(&self, order: impl Iterator<Item = usize>) -> Self {
        let width = self.shape[1..].iter().product::<usize>() * self.dtype.size();
        let bytes: Vec<u8> =
            order.flat_map(|row| &self.bytes[row * width..(row + 1) * width]).copied().collect();
        Self { bytes: bytes.into(), ..self.clone() }
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("folder", &self.folder).field("family", &self.spec.family).finish()
    }
}
