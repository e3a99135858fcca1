//! Reads the header of a GGUF file with candle's reader, after checks that candle's reader does not make.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use eft_models::{Error, Result};

use super::tensors::Tensors;

/// The largest allowed number of array entries in all fields together. Candle holds each entry in 32 bytes, however
/// small it is in the file.
const MAX_ENTRIES: u64 = 1 << 24;

/// The numbers that stand for these types in a file.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads the header of a file. Returns the metadata by field name, and the tensors: mapped into memory, or read.
pub(super) fn read(path: &Path, mapped: bool) -> Result<(HashMap<String, Value>, Tensors)> {
    let io = |source| Error::Io { file: path.into(), source };
    let bad = |reason: String| Error::BadFile { file: path.into(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::new(file);
    check(&mut reader, length).map_err(|e| match e.kind() {
        ErrorKind::InvalidData => bad(e.to_string()),
        ErrorKind::UnexpectedEof => bad("it ends within its header: the file is truncated".into()),
        _ => io(e),
    })?;
    reader.rewind().map_err(io)?;
    let content = Content::read(&mut reader).map_err(|e| bad(e.to_string()))?;
    let Content { metadata, tensor_infos, tensor_data_offset, .. } = content;
    // SAFETY: a safe function cannot exclude that somebody changes the file, so the contract is passed on to the user
    // in the documentation of `Gguf::open`, as `eft_models::Checkpoint::open` does.
    #[expect(unsafe_code, reason = "files are mapped into memory, not copied")]
    let bytes = if mapped { unsafe { eft_models::map_file(path) } } else { eft_models::read_file(path) }?;
    let tensors = Tensors::new(path.into(), bytes, tensor_infos, tensor_data_offset)?;
    Ok((metadata, tensors))
}

fn invalid(reason: impl Into<String>) -> IoError {
    IoError::new(ErrorKind::InvalidData, reason.into())
}

/// Walks over the metadata. Refuses what candle's reader does not check: an alignment of zero, by which it would
/// divide, and lengths by which it would allocate far more memory than the file has bytes.
fn check(reader: &mut BufReader<File>, length: u64) -> IoResult<()> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    if &magic != b"GGUF" {
        return Err(invalid("it is not a GGUF file: it does not begin with `GGUF`"));
    }
    let version = u32(reader)?;
    if !(2..=3).contains(&version) {
        return Err(invalid(format!(
            "it has version {version} of the GGUF format; versions 2 and 3 are supported"
        )));
    }
    let (_tensors, fields) = (u64(reader)?, u64(reader)?);
    let mut entries = 0u64;
    for _ in 0..fields {
        let key = string(reader, length)?;
        let kind = u32(reader)?;
        if kind == ARRAY {
            let (kind, count) = (u32(reader)?, u64(reader)?);
            entries = entries.saturating_add(count);
            if entries > MAX_ENTRIES {
                return Err(invalid(format!("its arrays have more than {MAX_ENTRIES} entries")));
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
            // Candle drops zero bytes at the end of names.
            let name = key.split(|b| *b == 0).next().unwrap_or_default();
            if name == b"general.alignment" && value.iter().all(|b| *b == 0) {
                return Err(invalid("its `general.alignment` is 0"));
            }
        }
    }
    Ok(())
}

/// Returns the size in bytes of a value of a fixed-size type. Arrays of arrays occur in no model, and are refused.
fn size_of(kind: u32) -> IoResult<u64> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(invalid(format!(
            "its metadata hold a value of type {kind}, which is unknown or not supported here"
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
        return Err(invalid(format!(
            "its metadata have a string of {size} bytes, but the file has only {length}"
        )));
    }
    let mut bytes = vec![0; size as usize];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(reader: &mut BufReader<File>, size: u64, length: u64) -> IoResult<()> {
    match i64::try_from(size) {
        Ok(distance) if size <= length => reader.seek_relative(distance),
        _ => {
            Err(invalid(format!("its metadata have a value of {size} bytes, but the file has only {length}")))
        }
    }
}
