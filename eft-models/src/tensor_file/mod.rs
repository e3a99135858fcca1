//! Files of tensors: safetensors, and what PyTorch saves; and files mapped into memory.
mod pickle;
mod safetensors;
mod torch;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ::safetensors::Dtype as StoredDtype;
use bytes::Bytes;
use memmap2::Mmap;

use crate::tensors::{Dtype, RawTensor};
use crate::{Error, Result};

/// A file of tensors.
pub(crate) struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    /// All tensors, by name.
    tensors: BTreeMap<String, Stored>,
    /// The size of all tensors in bytes.
    size: u64,
}

/// Where a file holds a tensor.
struct Stored {
    dtype: StoredDtype,
    shape: Vec<usize>,
    /// The distance in memory between neighbours along each dimension, in entries; `None` in row-major order.
    strides: Option<Vec<usize>>,
    /// The bytes of the file that hold the tensor, from its first entry on.
    bytes: Range<usize>,
}

/// A tensor of any type, with its entries in row-major order, little-endian.
pub(crate) struct AnyTensor {
    pub(crate) dtype: StoredDtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Bytes,
}

impl TensorFile {
    /// Reads a file into memory.
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let bytes = read_file(&path)?;
        Self::new(path, bytes)
    }

    /// Maps a file into memory.
    ///
    /// # Safety
    /// The contract of [`map_file`].
    pub(crate) unsafe fn map(path: PathBuf) -> Result<Self> {
        // SAFETY: the caller upholds the contract.
        let bytes = unsafe { map_file(&path) }?;
        Self::new(path, bytes)
    }

    /// Reads the table of tensors: that of safetensors if the name ends so, else that of PyTorch.
    fn new(path: PathBuf, bytes: Bytes) -> Result<Self> {
        let table = match path.extension().is_some_and(|extension| extension == "safetensors") {
            true => safetensors::table(&bytes),
            false => torch::table(&bytes),
        };
        let (tensors, size) = table.map_err(|reason| Error::BadFile { file: path.clone(), reason })?;
        Ok(Self { path, bytes, tensors, size })
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of all tensors in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The file's own copy of a name, if it has a tensor of that name.
    pub(crate) fn name(&self, name: &str) -> Option<&str> {
        self.tensors.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// The number of bytes of the file that hold a tensor.
    pub(crate) fn stored_bytes(&self, name: &str) -> Option<u64> {
        self.tensors.get(name).map(|stored| stored.bytes.len() as u64)
    }

    /// A tensor of the given name and shape.
    pub(crate) fn tensor<'a>(&'a self, name: &'a str, shape: &[usize]) -> Result<RawTensor<'a>> {
        let wrong = |reason: String| bad_tensor(&self.path, name, reason);
        let stored = self.tensors.get(name).ok_or_else(|| wrong("is missing".into()))?;
        let other = stored.dtype;
        let dtype =
            plain(other).ok_or_else(|| wrong(format!("is of type {other:?}; expected F32, F16 or BF16")))?;
        if stored.shape != shape {
            return Err(wrong(format!("has shape {:?}; expected {shape:?}", stored.shape)));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype, bytes: self.bytes(name, stored)? })
    }

    /// A tensor of the given name, of any shape and type; `None` if there is none.
    pub(crate) fn any(&self, name: &str) -> Result<Option<AnyTensor>> {
        let Some(stored) = self.tensors.get(name) else { return Ok(None) };
        let bytes = self.bytes(name, stored)?;
        Ok(Some(AnyTensor { dtype: stored.dtype, shape: stored.shape.clone(), bytes }))
    }

    /// The entries of a tensor in row-major order.
    fn bytes(&self, name: &str, stored: &Stored) -> Result<Bytes> {
        let wrong = |reason: String| bad_tensor(&self.path, name, reason);
        let Range { start, end } = stored.bytes;
        if start > end || end > self.bytes.len() {
            return Err(wrong("lies past the end of the file".into()));
        }
        let bytes = self.bytes.slice(start..end);
        let entries = stored.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let expected = entries.and_then(|entries| Some(entries.checked_mul(stored.dtype.bitsize())? / 8));
        let expected = expected.ok_or_else(|| wrong(format!("has the shape {:?}", stored.shape)))?;
        match &stored.strides {
            None if bytes.len() == expected => Ok(bytes),
            None => Err(wrong(format!("has {} bytes; its shape needs {expected}", bytes.len()))),
            Some(strides) => {
                let gathered = gather(&bytes, &stored.shape, strides, stored.dtype.bitsize() / 8);
                gathered.map(Bytes::from).ok_or_else(|| wrong("lies past the end of its storage".into()))
            }
        }
    }
}

/// The type of entries that are ordinary floating-point numbers; `None` for other types.
pub(crate) fn plain(stored: StoredDtype) -> Option<Dtype> {
    match stored {
        StoredDtype::F32 => Some(Dtype::F32),
        StoredDtype::F16 => Some(Dtype::F16),
        StoredDtype::BF16 => Some(Dtype::BF16),
        _ => None,
    }
}

/// Copies entries of `width` bytes that are not in row-major order into that order; `None` if one lies outside of
/// `bytes`.
fn gather(bytes: &[u8], shape: &[usize], strides: &[usize], width: usize) -> Option<Vec<u8>> {
    let entries: usize = shape.iter().product();
    // A stride of 0 repeats entries, so the copy could be of any size.
    if shape.len() != strides.len() || entries.checked_mul(width)? > bytes.len() {
        return None;
    }
    let mut gathered = Vec::with_capacity(entries * width);
    let mut index = vec![0; shape.len()];
    for _ in 0..entries {
        let terms = index.iter().zip(strides).map(|(i, stride): (&usize, _)| i.checked_mul(*stride));
        let at = terms.sum::<Option<usize>>()?.checked_mul(width)?;
        gathered.extend(bytes.get(at..at.checked_add(width)?)?);
        for (i, size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    Some(gathered)
}

/// Reads a file into memory.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn read_file(path: &Path) -> Result<Bytes> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { file: path.into(), source })?;
    Ok(bytes.into())
}

/// Maps a file into memory, read-only, until the last handle to its bytes is dropped. [`read_file`] is the safe
/// alternative.
///
/// # Safety
/// Nobody may change or truncate the file in place while it is mapped, neither this process nor another: the bytes
/// are handed out as shared references, so a change is undefined behaviour, and reading past a truncated end kills the
/// process. Replacing the file by renaming another to its name is fine.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened or mapped.
pub unsafe fn map_file(path: &Path) -> Result<Bytes> {
    let io = |source| Error::Io { file: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    // SAFETY: the map is read-only, and the caller vouches that the file does not change.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::from_owner(map))
}

/// An [`Error::BadTensor`].
pub(crate) fn bad_tensor(file: &Path, tensor: &str, reason: String) -> Error {
    Error::BadTensor { file: file.into(), tensor: tensor.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_entries_are_gathered_within_their_storage() {
        let bytes = [0, 1, 2, 3, 4, 5];
        assert_eq!(gather(&bytes, &[2, 3], &[1, 2], 1), Some(vec![0, 2, 4, 1, 3, 5]));
        assert_eq!(gather(&bytes, &[2, 1], &[1, 7], 2), Some(vec![0, 1, 2, 3]));
        for (shape, strides) in [([2, 3], [1, 3]), ([6, 2], [0, 0]), ([2, 2], [usize::MAX, 2])] {
            assert_eq!(gather(&bytes, &shape, &strides, 1), None, "{shape:?} {strides:?}");
        }
    }
}
