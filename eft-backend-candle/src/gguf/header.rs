//! Reads the header of a GGUF file. Numbers in it are checked against the length of the file before memory is allocated.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use eft_models::{Error, Result};

use super::metadata::whole;
use super::tensors::{TensorInfo, Tensors};
use super::types::TensorType;

/// The largest allowed number of array entries in all fields together. An entry takes 32 bytes of memory, however small
/// it is in the file.
const MAX_ENTRIES: u64 = 1 << 24;

/// The largest number of dimensions of a tensor: more than the format allows.
const MAX_DIMENSIONS: u32 = 8;

/// The numbers that stand for these types of values in a file.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The field of the number that offsets of tensors are multiples of.
const ALIGNMENT: &str = "general.alignment";

/// Reads the header of a file. Returns the metadata by field name, and the tensors: mapped into memory, or read.
pub(super) fn read(path: &Path, mapped: bool) -> Result<(HashMap<String, Value>, Tensors)> {
    let io = |source| Error::Io { file: path.into(), source };
    let bad = |reason: String| Error::BadFile { file: path.into(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut reader = Reader { inner: BufReader::new(file), length };
    let fault = |e: IoError| match e.kind() {
        ErrorKind::InvalidData => bad(e.to_string()),
        ErrorKind::UnexpectedEof => bad("it ends within its header: the file is truncated".into()),
        _ => io(e),
    };
    let (metadata, count) = reader.metadata().map_err(fault)?;
    let alignment = match metadata.get(ALIGNMENT) {
        None => 32,
        Some(value) => whole(value).unwrap_or(0),
    };
    if alignment == 0 {
        return Err(bad(format!("its `{ALIGNMENT}` is 0 or no whole number")));
    }
    let mut infos = Vec::new();
    for _ in 0..count {
        let (name, shape, kind, offset) = reader.tensor().map_err(fault)?;
        match TensorType::new(kind) {
            Ok(kind) => infos.push(TensorInfo { name, shape, kind, offset }),
            Err(reason) => return Err(Error::BadTensor { file: path.into(), tensor: name, reason }),
        }
    }
    let end = reader.inner.stream_position().map_err(io)?;
    let start = end.checked_next_multiple_of(alignment);
    let start = start.ok_or_else(|| bad(format!("its `{ALIGNMENT}` is {alignment}")))?;
    // SAFETY: a safe function cannot exclude that somebody changes the file, so the contract is passed on to the user
    // in the documentation of `Gguf::open`, as `eft_models::Checkpoint::open` does.
    #[expect(unsafe_code, reason = "files are mapped into memory, not copied")]
    let bytes = if mapped { unsafe { eft_models::map_file(path) } } else { eft_models::read_file(path) }?;
    Ok((metadata, Tensors::new(path.into(), bytes, infos, start)?))
}

fn invalid(reason: impl Into<String>) -> IoError {
    IoError::new(ErrorKind::InvalidData, reason.into())
}

/// Reads the parts of a header, one after another.
struct Reader {
    inner: BufReader<File>,
    /// The length of the file.
    length: u64,
}

impl Reader {
    /// Reads the metadata. Returns the number of tensors too, whose descriptions follow.
    fn metadata(&mut self) -> IoResult<(HashMap<String, Value>, u64)> {
        if &self.bytes()? != b"GGUF" {
            return Err(invalid("it is not a GGUF file: it does not begin with `GGUF`"));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(invalid(format!(
                "it has version {version} of the GGUF format; versions 2 and 3 are supported"
            )));
        }
        let (tensors, fields) = (self.u64()?, self.u64()?);
        let (mut metadata, mut entries) = (HashMap::new(), 0u64);
        for _ in 0..fields {
            let name = self.string()?;
            let kind = self.u32()?;
            let value = if kind == ARRAY {
                let (kind, count) = (self.u32()?, self.u64()?);
                entries = entries.saturating_add(count);
                if entries > MAX_ENTRIES {
                    return Err(invalid(format!("its arrays have more than {MAX_ENTRIES} entries")));
                }
                Value::Array((0..count).map(|_| self.value(kind)).collect::<IoResult<_>>()?)
            } else {
                self.value(kind)?
            };
            metadata.insert(name, value);
        }
        Ok((metadata, tensors))
    }

    /// Reads a value that is no array. Arrays of arrays occur in no model, and are refused.
    fn value(&mut self, kind: u32) -> IoResult<Value> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.bytes()?)),
            1 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            2 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            3 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => match self.bytes()? {
                [byte @ (0 | 1)] => Value::Bool(byte == 1),
                [byte] => return Err(invalid(format!("its metadata have {byte} for a boolean"))),
            },
            STRING => Value::String(self.string()?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            other => {
                let reason = "which is unknown or not supported here";
                return Err(invalid(format!("its metadata hold a value of type {other}, {reason}")));
            }
        })
    }

    /// Reads the description of a tensor: its name, shape, the number of its type, and its offset.
    fn tensor(&mut self) -> IoResult<(String, Vec<usize>, u32, u64)> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(invalid(format!("its tensor `{name}` has {dimensions} dimensions")));
        }
        let sizes = (0..dimensions).map(|_| self.u64()).collect::<IoResult<Vec<_>>>()?;
        let shape = sizes.into_iter().rev().map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
        Ok((name, shape, self.u32()?, self.u64()?))
    }

    fn bytes<const N: usize>(&mut self) -> IoResult<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> IoResult<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> IoResult<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Reads a text. Zero bytes at its end, which some converters write, are dropped.
    fn string(&mut self) -> IoResult<String> {
        let (size, length) = (self.u64()?, self.length);
        if size > length {
            return Err(invalid(format!(
                "its metadata have a string of {size} bytes, but the file has only {length}"
            )));
        }
        let mut bytes = vec![0; size as usize];
        self.inner.read_exact(&mut bytes)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }
}
