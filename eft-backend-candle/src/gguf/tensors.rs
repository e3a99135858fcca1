//! The tensors of a file, read and dequantised one at a time.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::TensorInfo;
use eft_models::{Dtype, Error, RawTensor, Result};

/// Entries dequantised at once: what is held twice.
const PIECE: usize = 1 << 20;

pub(super) struct Tensors {
    path: PathBuf,
    file: Mutex<File>,
    infos: BTreeMap<String, Info>,
}

struct Info {
    shape: Vec<usize>,
    dtype: GgmlDType,
    entries: usize,
    /// From the beginning of the file.
    start: u64,
}

impl Tensors {
    /// Checks that every tensor lies within the file.
    pub(super) fn new(
        path: PathBuf,
        file: File,
        length: u64,
        infos: HashMap<String, TensorInfo>,
        data: u64,
    ) -> Result<Self> {
        let info = |(name, info): (String, TensorInfo)| {
            let shape = info.shape.dims().to_vec();
            let checked = || {
                let entries = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
                let blocks = entries / info.ggml_dtype.block_size();
                let size = u64::try_from(blocks.checked_mul(info.ggml_dtype.type_size())?).ok()?;
                let start = data.checked_add(info.offset)?;
                (start.checked_add(size)? <= length).then_some((entries, start))
            };
            let Some((entries, start)) = checked() else {
                let reason = format!("of shape {shape:?} lies past the end of the file");
                return Err(Error::BadTensor { file: path.clone(), tensor: name, reason });
            };
            Ok((name, Info { shape, dtype: info.ggml_dtype, entries, start }))
        };
        let infos = infos.into_iter().map(info).collect::<Result<_>>()?;
        Ok(Self { path, file: Mutex::new(file), infos })
    }

    /// Bytes of all tensors in f32.
    pub(super) fn bytes(&self) -> u64 {
        self.infos.values().map(|info| 4 * info.entries as u64).sum()
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.infos.get(name).map(|info| &info.shape[..])
    }

    /// A tensor in f32.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        let wrong =
            |reason: String| Error::BadTensor { file: self.path.clone(), tensor: name.into(), reason };
        let (name, info) = self.infos.get_key_value(name).ok_or_else(|| wrong("is missing".into()))?;
        if info.shape != shape {
            return Err(wrong(format!("has shape {:?}; expected {shape:?}", info.shape)));
        }
        let (block, size) = (info.dtype.block_size(), info.dtype.type_size());
        let width = *shape.last().unwrap_or(&0);
        if width == 0 || info.entries == 0 || !width.is_multiple_of(block) {
            return Err(wrong(format!("of shape {shape:?} is not made of blocks of {block}")));
        }
        let rows = info.entries / width;
        let at_once = (PIECE / width).max(1);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let io = |source| Error::Io { file: self.path.clone(), source };
        file.seek(SeekFrom::Start(info.start)).map_err(io)?;
        let mut bytes = Vec::with_capacity(4 * info.entries);
        for row in (0..rows).step_by(at_once) {
            let rows = at_once.min(rows - row);
            let mut raw = vec![0; rows * width / block * size];
            file.read_exact(&mut raw).map_err(io)?;
            let piece = dequantised(info.dtype, &raw, rows, width).map_err(|e| wrong(e.to_string()))?;
            bytes.extend(piece.into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(RawTensor { name, shape: shape.into(), dtype: Dtype::F32, bytes: bytes.into() })
    }
}

fn dequantised(dtype: GgmlDType, raw: &[u8], rows: usize, width: usize) -> candle_core::Result<Vec<f32>> {
    let quantised = qtensor_from_ggml(dtype, raw, vec![rows, width], &Device::Cpu)?;
    quantised.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
