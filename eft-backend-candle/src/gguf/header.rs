//! Reading the header. Candle's reader does it; what that one takes on trust is checked here.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use eft_models::{Error, Result};

use super::tensors::Tensors;

/// Entries of all arrays. Candle holds each in 32 bytes, whatever it takes in the file.
const MANY: u64 = 1 << 24;

/// Numbers of types in the file.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads the metadata by name, and the tensors: mapped into memory, or read.
pub(super) fn read(path: &Path, mapped: bool) -> Result<(HashMap<String, Value>, Tensors)> {
    let io = |source| Error::Io { file: path.into(), source };
    let bad = |reason: String| Error::BadFile { file: path.into(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::new(file);
    check(&mut reader, length).map_err(|e| match e.kind() {
        ErrorKind::InvalidData => bad(e.to_string()),
        ErrorKind::UnexpectedEof => bad("it ends within its header".into()),
        _ => io(e),
    })?;
    reader.rewind().map_err(io)?;
    let content = Content::read(&mut reader).map_err(|e| bad(e.to_string()))?;
    let Content { metadata, tensor_infos, tensor_data_offset, .. } = content;
    // SAFETY: a safe function cannot exclude that somebody changes the file, so the contract is passed on to the user in
    // the documentation of `Gguf::open`, as `eft_models::Checkpoint::open` does.
    #[expect(unsafe_code, reason = "files are mapped into memory, not copied")]
    let bytes = if mapped { unsafe { eft_models::map_file(path) } } else { eft_models::read_file(path) }?;
    let tensors = Tensors::new(path.into(), bytes, tensor_infos, tensor_data_offset)?;
    Ok((metadata, tensors))
}

fn wrong(reason: impl Into<String>) -> IoError {
    IoError::new(ErrorKind::InvalidData, reason.into())
}

/// Walks over the metadata: refuses an alignment that candle would divide by though it is zero, and arrays that
/// take far more memory than the file does.
fn check(reader: &mut BufReader<File>, length: u64) -> IoResult<()> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    if &magic != b"GGUF" {
        return Err(wrong("it is no GGUF file"));
    }
    let version = u32(reader)?;
    if !(2..=3).contains(&version) {
        return Err(wrong(format!("it is of version {version} of GGUF; supported are 2 and 3")));
    }
    let (_tensors, fields) = (u64(reader)?, u64(reader)?);
    let mut entries = 0u64;
    for _ in 0..fields {
        let key = string(reader, length)?;
        let kind = u32(reader)?;
        if kind == ARRAY {
            let (kind, count) = (u32(reader)?, u64(reader)?);
            entries = entries.saturating_add(count);
            if entries > MANY {
                return Err(wrong(format!("its lists hold more than {MANY} entries")));
            }
            if kind == STRING {
                for _ in 0..count {
                    let size = u64(reader)?;
                    skip(reader, size, length)?;
                }
            } else {
                skip(reader, count * size_of(kind)?, length)?;
            }
        } else if kind == STRING {
            let size = u64(reader)?;
            skip(reader, size, length)?;
        } else {
            let mut value = [0; 8];
            let value = &mut value[..size_of(kind)? as usize];
            reader.read_exact(value)?;
            // Candle drops zeros at the end of names.
            let name = key.split(|b| *b == 0).next().unwrap_or_default();
            if name == b"general.alignment" && value.iter().all(|b| *b == 0) {
                return Err(wrong("its `general.alignment` is 0"));
            }
        }
    }
    Ok(())
}

/// Bytes of a value of fixed size. Lists of lists occur in no model.
fn size_of(kind: u32) -> IoResult<u64> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(wrong(format!(
            "its metadata hold a value of type {kind}, which there is not, or lists of lists"
        ))),
    }
}

fn u32(reader: &mut impl Read) -> IoResult<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn u64(reader: &mut impl Read) -> IoResult<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn string(reader: &mut BufReader<File>, length: u64) -> IoResult<Vec<u8>> {
    let size = u64(reader)?;
    if size > length {
        return Err(wrong(format!("it has a text of {size} bytes, but {length} in all")));
    }
    let mut bytes = vec![0; size as usize];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(reader: &mut BufReader<File>, size: u64, length: u64) -> IoResult<()> {
    match i64::try_from(size) {
        Ok(distance) if size <= length => reader.seek_relative(distance),
        _ => Err(wrong(format!("it has a value of {size} bytes, but {length} in all"))),
    }
}
