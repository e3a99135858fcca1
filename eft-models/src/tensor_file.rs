//! Safetensors files, and files mapped into memory.
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};
use serde_json::Value;

use crate::tensors::{Dtype, RawTensor};
use crate::{Error, Result};

/// A safetensors file.
pub(crate) struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    metadata: Metadata,
    /// Names of all tensors, sorted.
    names: Vec<String>,
    /// Offset of the first tensor: the length of everything before it.
    data: usize,
}

/// The length of the header is stored before it, in this many bytes.
const LENGTH_BYTES: usize = 8;

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

    fn new(path: PathBuf, bytes: Bytes) -> Result<Self> {
        let bad = |reason| Error::BadFile { file: path.clone(), reason };
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| bad(wrong_length(&bytes).unwrap_or_else(|| describe(&error))))?;
        let mut names: Vec<_> = metadata.tensors().into_keys().collect();
        names.sort_unstable();
        Ok(Self { path, bytes, metadata, names, data: LENGTH_BYTES + header })
    }

    /// The size of all tensors in bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.bytes.len() - self.data) as u64
    }

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The file's own copy of a name, if it has a tensor of that name.
    pub(crate) fn name(&self, name: &str) -> Option<&str> {
        let found = self.names.binary_search_by(|n| n.as_str().cmp(name)).ok()?;
        Some(&self.names[found])
    }

    /// A tensor of the given name and shape.
    pub(crate) fn tensor<'a>(&'a self, name: &'a str, shape: &[usize]) -> Result<RawTensor<'a>> {
        let wrong = |reason: String| bad_tensor(&self.path, name, reason);
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
        let bytes = bytes.filter(|(start, end)| start <= end && *end <= self.bytes.len());
        let (start, end) = bytes.ok_or_else(|| wrong("lies past the end of the file".into()))?;
        let bytes = self.bytes.slice(start..end);
        let expected = dtype.bytes(shape.iter().product());
        if bytes.len() != expected {
            return Err(wrong(format!("has {} bytes; its shape needs {expected}", bytes.len())));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype, bytes })
    }
}

/// An error of the parser, without its long debug form.
fn describe(error: &SafeTensorError) -> String {
    format!("it is not a valid safetensors file: {error}")
}

/// Describes the fault of a file whose length is not the one that its header gives; `None` if the length is not the
/// fault.
fn wrong_length(bytes: &[u8]) -> Option<String> {
    let found = bytes.len() as u64;
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Some(format!(
            "it is truncated: it has {found} bytes, fewer than the {LENGTH_BYTES} that begin a header"
        ));
    };
    let header = u64::from_le_bytes(*length);
    if header > MAX_HEADER {
        return None;
    }
    let start = LENGTH_BYTES as u64 + header;
    if start > found {
        return Some(format!("it is truncated: its header ends at byte {start}, the file at byte {found}"));
    }
    let header: Value = serde_json::from_slice(&rest[..header as usize]).ok()?;
    let end = |tensor: &Value| tensor.get("data_offsets")?.get(1)?.as_u64();
    let data = header.as_object()?.values().filter_map(end).max().unwrap_or(0);
    let expected = start.checked_add(data)?;
    match found {
        _ if found < expected => Some(format!("it is truncated: it has {found} bytes of {expected}")),
        _ if found > expected => Some(format!("it has {found} bytes, but its header describes {expected}")),
        _ => None,
    }
}

/// The longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

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
