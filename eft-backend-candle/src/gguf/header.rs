//! Reads the header of a GGUF file. Numbers in it are checked against the length of the file before memory is allocated,
//! so the memory for a header is of the order of its size in the file.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult, Seek};
use std::path::Path;

use eft_models::{Error, Result};

use super::metadata::whole;
use super::tensors::{TensorInfo, Tensors};
use super::texts::Texts;
use super::types::TensorType;
use super::value::{Kind, List, Scalars, Value};

/// The largest number of dimensions of a tensor: more than the format allows.
const MAX_DIMENSIONS: u32 = 8;

/// The numbers that stand for these types of values in a file.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The least number of bytes in which a file describes a tensor: those of its name's length, the number of its
/// dimensions, its type and its offset.
const DESCRIPTION: u64 = 8 + 4 + 4 + 8;

/// The field of the number that offsets of tensors are multiples of.
const ALIGNMENT: &str = "general.alignment";

/// Reads the header of a file. Returns the metadata by field name, and the tensors: mapped into memory, or read.
pub(super) fn read(path: &Path, mapped: bool) -> Result<(HashMap<String, Value>, Tensors)> {
    let io = |source| Error::Io { file: path.into(), source };
    let bad = |reason: String| Error::BadFile { file: path.into(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut reader = Reader { inner: BufReader::new(file), left: length };
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
    if !alignment.is_power_of_two() || alignment > length {
        return Err(bad(format!("its `{ALIGNMENT}` is no power of two, or larger than the file")));
    }
    reader.room("descriptions of tensors", count, DESCRIPTION).map_err(fault)?;
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
    /// The number of bytes of the file that have not been read.
    left: u64,
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
        let mut metadata = HashMap::new();
        for _ in 0..fields {
            let name = self.string("the name of a field")?;
            let kind = self.u32()?;
            let value = self.value(&name, kind)?;
            if metadata.contains_key(&name) {
                return Err(invalid(format!("it has the field `{name}` twice")));
            }
            metadata.insert(name, value);
        }
        Ok((metadata, tensors))
    }

    /// Reads the value of a field.
    fn value(&mut self, field: &str, kind: u32) -> IoResult<Value> {
        let of_field = |error: IoError| match error.kind() {
            ErrorKind::UnexpectedEof => {
                invalid(format!("it ends within its field `{field}`: the file is truncated"))
            }
            ErrorKind::InvalidData => invalid(format!("its field `{field}`: {error}")),
            _ => error,
        };
        let value = match kind {
            STRING => self.string("the text").map(Value::Text),
            ARRAY => self.list().map(Value::List),
            kind => self.scalar(kind),
        };
        value.map_err(of_field)
    }

    /// Reads a list. Lists of lists occur in no model, and are refused.
    fn list(&mut self) -> IoResult<List> {
        let (kind, count) = (self.u32()?, self.u64()?);
        if kind == STRING {
            self.room("texts", count, 8)?;
            let mut texts = Texts::with_capacity(count as usize);
            for _ in 0..count {
                texts.push(&self.string("a text")?);
            }
            return Ok(List::Texts(texts));
        }
        let kind = known(kind)?;
        self.room("entries", count, kind.bytes() as u64)?;
        let bytes = self.read(count * kind.bytes() as u64)?;
        if kind == Kind::Flag
            && let Some(byte) = bytes.iter().find(|byte| **byte > 1)
        {
            return Err(not_a_flag(*byte));
        }
        Ok(List::Scalars(Scalars { kind, bytes }))
    }

    /// Reads a value of a fixed size.
    fn scalar(&mut self, kind: u32) -> IoResult<Value> {
        let kind = known(kind)?;
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..kind.bytes()];
        self.fill(bytes)?;
        if kind == Kind::Flag && bytes[0] > 1 {
            return Err(not_a_flag(bytes[0]));
        }
        Ok(kind.value(bytes))
    }

    /// Reads the description of a tensor: its name, shape, the number of its type, and its offset.
    fn tensor(&mut self) -> IoResult<(String, Vec<usize>, u32, u64)> {
        let name = self.string("the name of a tensor")?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(invalid(format!("its tensor `{name}` has {dimensions} dimensions")));
        }
        let sizes = (0..dimensions).map(|_| self.u64()).collect::<IoResult<Vec<_>>>()?;
        let shape = sizes.into_iter().rev().map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
        Ok((name, shape, self.u32()?, self.u64()?))
    }

    /// Checks that the rest of the file has room for `count` values of at least `size` bytes.
    fn room(&self, what: &str, count: u64, size: u64) -> IoResult<()> {
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.left => Ok(()),
            _ => Err(invalid(format!(
                "it has {count} {what}, but only {} bytes are left: the file is truncated or damaged",
                self.left
            ))),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> IoResult<()> {
        self.inner.read_exact(bytes)?;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Ok(())
    }

    /// Reads this number of bytes, for which there is [room](Self::room).
    fn read(&mut self, count: u64) -> IoResult<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self) -> IoResult<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> IoResult<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> IoResult<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Reads a text. Zero bytes at its end, which some converters write, are dropped.
    fn string(&mut self, what: &str) -> IoResult<String> {
        let size = self.u64()?;
        if size > self.left {
            let left = self.left;
            return Err(invalid(format!(
                "{what} has {size} bytes, but only {left} are left: the file is truncated or damaged"
            )));
        }
        let mut bytes = self.read(size)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }
}

fn known(kind: u32) -> IoResult<Kind> {
    Kind::new(kind).ok_or_else(|| {
        invalid(format!("it holds a value of type {kind}, which is unknown or not supported here"))
    })
}

fn not_a_flag(byte: u8) -> IoError {
    invalid(format!("it has {byte} for a boolean"))
}
