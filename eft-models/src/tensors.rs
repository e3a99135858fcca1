//! Tensors as they are stored: safetensors files, mapped into memory.
//!
//! ```
//! use eft_models::{Checkpoint, Dtype};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert_eq!(checkpoint.tensor("model.norm.weight", &[32])?.dtype, Dtype::F32);
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::borrow::Cow;
use std::path::{Path, PathBuf};

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
    /// Row after row, little-endian.
    pub bytes: Cow<'a, [u8]>,
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

impl RawTensor<'_> {
    /// The same tensor with its rows in another order: row `i` is row `order[i]` of this one.
    pub fn reordered(&self, order: impl Iterator<Item = usize>) -> Self {
        let width = self.shape[1..].iter().product::<usize>() * self.dtype.size();
        let bytes: Vec<u8> =
            order.flat_map(|row| &self.bytes[row * width..(row + 1) * width]).copied().collect();
        Self { bytes: bytes.into(), ..self.clone() }
    }
}

/// A safetensors file, mapped into memory.
pub(crate) struct TensorFile {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    /// In order.
    names: Vec<String>,
    /// Where tensors begin.
    data: usize,
}

impl TensorFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let io = |source| Error::Io { file: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(io)?;
        // SAFETY: the map is read-only. Another process that truncates the file while it is mapped takes this one
        // down, as with every memory-mapped reader; weights of gigabytes leave no better way.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
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
        let bytes = bytes.and_then(|(start, end)| self.map.get(start..end));
        let bytes = bytes.ok_or_else(|| wrong("lies past the end of the file".into()))?;
        if bytes.len() != shape.iter().product::<usize>() * dtype.size() {
            return Err(wrong(format!("has {} bytes, which is not what its shape takes", bytes.len())));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype, bytes: bytes.into() })
    }
}

pub(crate) fn bad(file: &Path, tensor: &str, reason: String) -> Error {
    Error::BadTensor { file: file.into(), tensor: tensor.into(), reason }
}
