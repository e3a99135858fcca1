//! The tensors of a file, mapped into memory: in the types of the file, or dequantised one at a time.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use eft_models::{Dtype, Error, RawTensor, Result};

use super::names::{Expert, Place};
use super::types::TensorType;
use crate::backend::error::without_backtrace;
use crate::nn::quantised;

/// The number of entries that are dequantised at once. They are held twice meanwhile.
const CHUNK: usize = 1 << 20;

/// What the header says about a tensor.
pub(super) struct TensorInfo {
    pub(super) name: String,
    /// The sizes of the dimensions, outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: TensorType,
    /// The distance from the first byte of all tensors.
    pub(super) offset: u64,
}

/// The tensors of a file, or of all parts of one, by their GGUF names.
pub(super) struct Tensors {
    /// The file, or the first part.
    path: PathBuf,
    infos: BTreeMap<String, Info>,
}

struct Info {
    shape: Vec<usize>,
    kind: TensorType,
    entries: usize,
    /// The file that holds the tensor.
    file: Arc<Path>,
    /// The tensor's bytes: a handle to the file's mapping.
    bytes: Bytes,
}

impl Tensors {
    /// Collects the tensors of a file, and checks that each lies within it. `data` is the offset of the first tensor.
    pub(super) fn new(path: PathBuf, map: Bytes, infos: Vec<TensorInfo>, data: u64) -> Result<Self> {
        let file: Arc<Path> = path.as_path().into();
        let info = |info: TensorInfo| {
            let TensorInfo { name, shape, kind, offset } = info;
            let checked = || {
                let entries = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
                let size = (entries / kind.entries()).checked_mul(kind.bytes())?;
                let start = usize::try_from(data.checked_add(offset)?).ok()?;
                let end = start.checked_add(size)?;
                (end <= map.len()).then(|| (entries, map.slice(start..end)))
            };
            let Some((entries, bytes)) = checked() else {
                let reason = format!(
                    "of shape {shape:?} lies past the end of the file: the file is truncated or damaged"
                );
                return Err(Error::BadTensor { file: path.clone(), tensor: name, reason });
            };
            Ok((name, Info { shape, kind, entries, file: file.clone(), bytes }))
        };
        let mut all = BTreeMap::new();
        for one in infos {
            let (name, info) = info(one)?;
            if all.contains_key(&name) {
                return Err(Error::BadTensor {
                    file: path,
                    tensor: name,
                    reason: "is described twice".into(),
                });
            }
            all.insert(name, info);
        }
        Ok(Self { path, infos: all })
    }

    /// Returns the number of tensors.
    pub(super) fn count(&self) -> usize {
        self.infos.len()
    }

    /// The names of all tensors, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.infos.keys().map(String::as_str)
    }

    /// Adds the tensors of another part of the same model.
    pub(super) fn join(&mut self, part: Self) -> Result<()> {
        for (name, info) in part.infos {
            if self.infos.contains_key(&name) {
                let reason = "is in another part of the model, too".into();
                return Err(Error::BadTensor { file: part.path, tensor: name, reason });
            }
            self.infos.insert(name, info);
        }
        Ok(())
    }

    /// Returns the size in bytes of all tensors, in the types of the file or as f32.
    pub(super) fn bytes(&self, dequantised: bool) -> u64 {
        let bytes = |info: &Info| match info.kind {
            TensorType::Stored(_) if !dequantised => info.bytes.len(),
            _ => 4 * info.entries,
        };
        self.infos.values().map(|info| bytes(info) as u64).sum()
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.infos.get(name).map(|info| &info.shape[..])
    }

    /// Returns a tensor, or the part of one that is an expert's, as [`read`](Self::read) does.
    pub(super) fn read_at(&self, place: &Place, shape: &[usize], dequantised: bool) -> Result<RawTensor<'_>> {
        match &place.expert {
            Some(expert)
                if !self.infos.contains_key(&place.name) && self.infos.contains_key(&expert.alone) =>
            {
                self.read(&expert.alone, shape, dequantised)
            }
            Some(Expert { index, count, .. }) => {
                self.read_part(&place.name, shape, Some((*index, *count)), dequantised)
            }
            None => self.read(&place.name, shape, dequantised),
        }
    }

    /// Returns a tensor in the type of the file; or in f32 if `dequantised` is set, or if the type is one that no
    /// product supports.
    pub(super) fn read(&self, name: &str, shape: &[usize], dequantised: bool) -> Result<RawTensor<'_>> {
        self.read_part(name, shape, None, dequantised)
    }

    /// Returns a tensor, or the part with the first index of all `count` parts along a first dimension.
    fn read_part(
        &self,
        name: &str,
        shape: &[usize],
        part: Option<(usize, usize)>,
        dequantised: bool,
    ) -> Result<RawTensor<'_>> {
        let bad = |file: &Path, reason: String| {
            let (file, tensor) = (file.into(), name.into());
            Error::BadTensor { file, tensor, reason }
        };
        let missing = || bad(&self.path, "is missing".into());
        let (name, info) = self.infos.get_key_value(name).ok_or_else(missing)?;
        let wrong = |reason: String| bad(&info.file, reason);
        let whole: Vec<_> = part.map(|(_, count)| count).into_iter().chain(shape.iter().copied()).collect();
        if info.shape != whole {
            return Err(wrong(format!("has shape {:?}; expected {whole:?}", info.shape)));
        }
        let (block, size) = (info.kind.entries(), info.kind.bytes());
        let width = *shape.last().unwrap_or(&0);
        if width == 0 || info.entries == 0 || !width.is_multiple_of(block) {
            return Err(wrong(format!(
                "has shape {shape:?}, whose rows are not whole blocks of {block} entries"
            )));
        }
        let (index, count) = part.unwrap_or((0, 1));
        let (entries, length) = (info.entries / count, info.bytes.len() / count);
        let raw = info.bytes.slice(index * length..(index + 1) * length);
        if let (TensorType::Stored(dtype), false) = (info.kind, dequantised) {
            return Ok(RawTensor { name, shape: shape.into(), dtype, bytes: raw });
        }
        let mut bytes = Vec::with_capacity(4 * entries);
        let length = (CHUNK / width).max(1) * (width / block) * size;
        for start in (0..raw.len()).step_by(length) {
            let raw = raw.slice(start..raw.len().min(start + length));
            let rows = raw.len() / (width / block * size);
            let piece = match info.kind {
                TensorType::Rare(kind) => dequantise(kind, &raw, rows, width),
                TensorType::Stored(dtype) => {
                    quantised::numbers(&RawTensor { name, shape: vec![rows, width], dtype, bytes: raw })
                }
            };
            let piece = piece.map_err(|e| wrong(without_backtrace(e).to_string()))?;
            bytes.extend(piece.into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype: Dtype::F32, bytes: bytes.into() })
    }
}

/// Dequantises whole rows with candle.
fn dequantise(dtype: GgmlDType, raw: &[u8], rows: usize, width: usize) -> candle_core::Result<Vec<f32>> {
    let quantised = qtensor_from_ggml(dtype, raw, vec![rows, width], &Device::Cpu)?;
    quantised.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
