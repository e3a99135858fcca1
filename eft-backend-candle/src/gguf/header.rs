//! Reads the header of a GGUF file with candle's reader, after checks that candle's reader does not make.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use eft_models::{Error, Result};

use super::tensors::Tensors;
use crate::backend::error::without_backtrace;

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
    let fault = |e: IoError| match e.kind() {
        ErrorKind::InvalidData => bad(e.to_string()),
        ErrorKind::UnexpectedEof => bad("it ends within its header: the file is truncated".into()),
        _ => io(e),
    };
    let tensors = check(&mut reader, length).map_err(fault)?;
    if let Some((tensor, kind)) = unsupported(&mut reader, length, tensors).map_err(fault)? {
        let (name, known) = (kind_name(kind), supported().collect::<Vec<_>>().join(", "));
        let reason = format!("has the type {name}, which is not supported; supported are: {known}");
        return Err(Error::BadTensor { file: path.into(), tensor, reason });
    }
    reader.rewind().map_err(io)?;
    let content = Content::read(&mut reader).map_err(|e| bad(without_backtrace(e).to_string()))?;
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
/// divide, and lengths by which it would allocate far more memory than the file has bytes. Returns the number of
/// tensors, whose descriptions follow.
fn check(reader: &mut BufReader<File>, length: u64) -> IoResult<u64> {
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
    let (tensors, fields) = (u64(reader)?, u64(reader)?);
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
    Ok(tensors)
}

/// Walks over the descriptions of the tensors. Returns the name and the type of the first whose type candle does not
/// know.
fn unsupported(reader: &mut BufReader<File>, length: u64, tensors: u64) -> IoResult<Option<(String, u32)>> {
    for _ in 0..tensors {
        let name = string(reader, length)?;
        let dimensions = u32(reader)?;
        skip(reader, u64::from(dimensions) * 8, length)?;
        let kind = u32(reader)?;
        if !KINDS.iter().any(|(number, _, known)| *known && *number == kind) {
            let name = String::from_utf8_lossy(&name);
            return Ok(Some((name.trim_end_matches('\0').to_owned(), kind)));
        }
        let _offset = u64(reader)?;
    }
    Ok(None)
}

/// The types of tensors: their numbers in files, their names, and whether they are supported.
const KINDS: [(u32, &str, bool); 36] = [
    (0, "F32", true),
    (1, "F16", true),
    (2, "Q4_0", true),
    (3, "Q4_1", true),
    (6, "Q5_0", true),
    (7, "Q5_1", true),
    (8, "Q8_0", true),
    (9, "Q8_1", true),
    (10, "Q2_K", true),
    (11, "Q3_K", true),
    (12, "Q4_K", true),
    (13, "Q5_K", true),
    (14, "Q6_K", true),
    (15, "Q8_K", true),
    (16, "IQ2_XXS", false),
    (17, "IQ2_XS", false),
    (18, "IQ3_XXS", false),
    (19, "IQ1_S", false),
    (20, "IQ4_NL", false),
    (21, "IQ3_S", false),
    (22, "IQ2_S", false),
    (23, "IQ4_XS", false),
    (24, "I8", false),
    (25, "I16", false),
    (26, "I32", false),
    (27, "I64", false),
    (28, "F64", false),
    (29, "IQ1_M", false),
    (30, "BF16", true),
    (31, "Q4_0_4_4", false),
    (32, "Q4_0_4_8", false),
    (33, "Q4_0_8_8", false),
    (34, "TQ1_0", false),
    (35, "TQ2_0", false),
    (39, "MXFP4", false),
    (40, "NVFP4", false),
];

/// The names of the supported types.
fn supported() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|(_, _, supported)| *supported).map(|(_, name, _)| *name)
}

/// The name of a type, or its number if it has no known name.
fn kind_name(kind: u32) -> String {
    let known = KINDS.iter().find(|(number, ..)| *number == kind);
    known.map_or_else(|| kind.to_string(), |(_, name, _)| (*name).to_owned())
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
