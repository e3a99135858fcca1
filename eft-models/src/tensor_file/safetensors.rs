//! The table of tensors of a safetensors file.
use std::collections::BTreeMap;

use safetensors::{SafeTensorError, SafeTensors};
use serde_json::Value;

use super::Stored;

/// The length of the header is stored before it, in this many bytes.
const LENGTH_BYTES: usize = 8;

/// Returns the tensors and their size in bytes, or a description of the file's fault.
pub(super) fn table(bytes: &[u8]) -> Result<(BTreeMap<String, Stored>, u64), String> {
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| wrong_length(bytes).unwrap_or_else(|| describe(&error)))?;
    let data = LENGTH_BYTES + header;
    let stored = |info: &safetensors::tensor::TensorInfo| {
        let (start, end) = info.data_offsets;
        // Offsets past the end are refused when the tensor is read.
        let bytes = data.saturating_add(start)..data.saturating_add(end);
        Stored { dtype: info.dtype, shape: info.shape.clone(), strides: None, bytes }
    };
    let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, stored(info))).collect();
    Ok((tensors, (bytes.len() - data) as u64))
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
