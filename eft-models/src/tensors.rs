//! Tensors as they are stored: safetensors files, mapped into memory.
//!
//! ```
//! use eft_models::{Checkpoint, Dtype};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert_eq!(checkpoint.tensor("model.norm.weight", &[32])?.dtype, Dtype::F32);
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use crate::{Error, Result};

/// A tensor as it is stored.
#[derive(Debug, Clone)]
pub struct RawTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Type of its entries.
    pub dtype: Dtype,
    /// Row after row, little-endian. A handle: what a file maps into memory stays mapped as long as one is held.
    pub bytes: Bytes,
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
    /// Blocks of a few bits an entry; a row is made of whole ones.
    Quantised(Blocks),
}

/// Kinds of quantised blocks, as GGUF files hold them: so many bits an entry, and a scale, perhaps with an offset, for
/// each 16 or 32 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "these are the names that the files have for them")]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl Blocks {
    /// Entries of a block.
    pub fn entries(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }
}

impl Dtype {
    /// Bytes of so many entries, of whole blocks.
    pub fn bytes(self, entries: usize) -> usize {
        match self {
            Self::F32 => 4 * entries,
            Self::F16 | Self::BF16 => 2 * entries,
            Self::Quantised(blocks) => entries / blocks.entries() * blocks.bytes(),
        }
    }
}

impl RawTensor<'_> {
    /// The same tensor with its rows in another order: row `i` is row `order[i]` of this one.
    pub fn reordered(&self, order: impl Iterator<Item = usize>) -> Self {
        let width = self.dtype.bytes(self.shape[1..].iter().product());
        let bytes: Vec<u8> =
            order.flat_map(|row| &self.bytes[row * width..(row + 1) * width]).copied().collect();
        Self { bytes: bytes.into(), ..self.clone() }
    }
}

/// A safetensors file, mapped into memory.
pub(crate) struct TensorFile {
    path: PathBuf,
    map: Bytes,
    metadata: Metadata,
    /// In order.
    names: Vec<String>,
    /// Where tensors begin.
    data: usize,
}

impl TensorFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let map = mapped(&path)?;
        let header = SafeTensors::read_metadata(&map);
        let (header, metadata) =
            header.map_err(|e| Error::BadFile { file: path.clone(), reason: e.to_string() })?;
        let mut names: Vec<_> = metadata.tensors().into_keys().collect();
        names.sort_unstable();
        // The length of the header comes before it, in eight bytes.
        Ok(Self { path, map, metadata, names, data: header + 8 })
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> u64 {
        (self.map.len() - self.data) as u64
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The file's own copy of a name, if it has a tensor of it.
    pub(crate) fn name(&self, name: &str) -> Option<&str> {
        let found = self.names.binary_search_by(|n| n.as_str().cmp(name)).ok()?;
        Some(&self.names[found])
    }

    pub(crate) fn tensor<'a>(&'a self, name: &'a str, shape: &[usize]) -> Result<RawTensor<'a>> {
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
        let bytes = bytes.filter(|(start, end)| start <= end && *end <= self.map.len());
        let (start, end) = bytes.ok_or_else(|| wrong("lies past the end of the file".into()))?;
        let bytes = self.map.slice(start..end);
        if bytes.len() != dtype.bytes(shape.iter().product()) {
            return Err(wrong(format!("has {} bytes, which is not what its shape takes", bytes.len())));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype, bytes })
    }
}

/// A file, mapped into memory until the last handle to it is gone.
///
/// # Errors
/// [`Error::Io`].
pub fn mapped(path: &Path) -> Result<Bytes> {
    let io = |source| Error::Io { file: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    // SAFETY: the map is read-only. Another process that truncates the file while it is mapped takes this one
    // down, as with every memory-mapped reader; weights of gigabytes leave no better way.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::from_owner(map))
}

pub(crate) fn bad(file: &Path, tensor: &str, reason: String) -> Error {
    Error::BadTensor { file: file.into(), tensor: tensor.into(), reason }
}
