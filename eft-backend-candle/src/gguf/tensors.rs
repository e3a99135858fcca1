//! The tensors of a file, mapped into memory: in the types of the file, or dequantised one at a time.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::TensorInfo;
use eft_models::{Blocks, Dtype, Error, RawTensor, Result};

use super::names::{Expert, Place};
use crate::backend::error::without_backtrace;

/// The number of entries that are dequantised at once. They are held twice meanwhile.
const CHUNK: usize = 1 << 20;

/// The tensors of a file, or of all parts of one, by their GGUF names.
pub(super) struct Tensors {
    /// The file, or the first part.
    path: PathBuf,
    infos: BTreeMap<String, Info>,
}

struct Info {
    shape: Vec<usize>,
    dtype: GgmlDType,
    entries: usize,
    /// The file that holds the tensor.
    file: Arc<Path>,
    /// The tensor's bytes: a handle to the file's mapping.
    bytes: Bytes,
}

impl Tensors {
    /// Collects the tensors of a file, and checks that each lies within it. `data` is the offset of the first tensor.
    pub(super) fn new(
        path: PathBuf,
        map: Bytes,
        infos: HashMap<String, TensorInfo>,
        data: u64,
    ) -> Result<Self> {
        let file: Arc<Path> = path.as_path().into();
        let info = |(name, info): (String, TensorInfo)| {
            let shape = info.shape.dims().to_vec();
            let checked = || {
                let entries = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
                let blocks = entries / info.ggml_dtype.block_size();
                let size = blocks.checked_mul(info.ggml_dtype.type_size())?;
                let start = usize::try_from(data.checked_add(info.offset)?).ok()?;
                let end = start.checked_add(size)?;
                (end <= map.len()).then(|| (entries, map.slice(start..end)))
            };
            let Some((entries, bytes)) = checked() else {
                let reason = format!(
                    "of shape {shape:?} lies past the end of the file: the file is truncated or damaged"
                );
                return Err(Error::BadTensor { file: path.clone(), tensor: name, reason });
            };
            Ok((name, Info { shape, dtype: info.ggml_dtype, entries, file: file.clone(), bytes }))
        };
        let infos = infos.into_iter().map(info).collect::<Result<_>>()?;
        Ok(Self { path, infos })
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
        let bytes = |info: &Info| match stored(info.dtype).filter(|_| !dequantised) {
            Some(_) => info.bytes.len(),
            None => 4 * info.entries,
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
        let (block, size) = (info.dtype.block_size(), info.dtype.type_size());
        let width = *shape.last().unwrap_or(&0);
        if width == 0 || info.entries == 0 || !width.is_multiple_of(block) {
            return Err(wrong(format!(
                "has shape {shape:?}, whose rows are not whole blocks of {block} entries"
            )));
        }
        let (index, count) = part.unwrap_or((0, 1));
        let (entries, length) = (info.entries / count, info.bytes.len() / count);
        let raw = info.bytes.slice(index * length..(index + 1) * length);
        if let Some(dtype) = stored(info.dtype).filter(|_| !dequantised) {
            return Ok(RawTensor { name, shape: shape.into(), dtype, bytes: raw });
        }
        let mut bytes = Vec::with_capacity(4 * entries);
        for raw in raw.chunks((CHUNK / width).max(1) * (width / block) * size) {
            let rows = raw.len() / (width / block * size);
            let piece = dequantise(info.dtype, raw, rows, width)
                .map_err(|e| wrong(without_backtrace(e).to_string()))?;
            bytes.extend(piece.into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype: Dtype::F32, bytes: bytes.into() })
    }
}

/// Returns the type of a tensor that products support without dequantising; `None` for all others.
fn stored(dtype: GgmlDType) -> Option<Dtype> {
    Some(match dtype {
        GgmlDType::F32 => Dtype::F32,
        GgmlDType::F16 => Dtype::F16,
        GgmlDType::BF16 => Dtype::BF16,
        GgmlDType::Q4_0 => Dtype::Quantised(Blocks::Q4_0),
        GgmlDType::Q4_1 => Dtype::Quantised(Blocks::Q4_1),
        GgmlDType::Q5_0 => Dtype::Quantised(Blocks::Q5_0),
        GgmlDType::Q5_1 => Dtype::Quantised(Blocks::Q5_1),
        GgmlDType::Q8_0 => Dtype::Quantised(Blocks::Q8_0),
        GgmlDType::Q2K => Dtype::Quantised(Blocks::Q2K),
        GgmlDType::Q3K => Dtype::Quantised(Blocks::Q3K),
        GgmlDType::Q4K => Dtype::Quantised(Blocks::Q4K),
        GgmlDType::Q5K => Dtype::Quantised(Blocks::Q5K),
        GgmlDType::Q6K => Dtype::Quantised(Blocks::Q6K),
        GgmlDType::Q8_1 | GgmlDType::Q8K => return None,
    })
}

/// Dequantises whole rows with candle.
fn dequantise(dtype: GgmlDType, raw: &[u8], rows: usize, width: usize) -> candle_core::Result<Vec<f32>> {
    let quantised = qtensor_from_ggml(dtype, raw, vec![rows, width], &Device::Cpu)?;
    quantised.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
