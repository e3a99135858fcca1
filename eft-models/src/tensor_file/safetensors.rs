//! The table of tensors of a safetensors file.
use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::Stored;

/// The length of the header is stored before it, in this many bytes.
const LENGTH_BYTES: usize = 8;

/// Returns the tensors and their size in bytes, or a description of the file's fault.
pub(super) fn table(bytes: &[u8]) -> Result<(BTreeMap<String, Stored>, u64), String> {
    let fault = |error: SafeTensorError| {
        wrong_length(bytes).or_else(|| wrong_tensor(bytes)).unwrap_or_else(|| describe(&error))
    };
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(fault)?;
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

/// Names a tensor whose description is wrong; `None` if each is right by itself.
fn wrong_tensor(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let tensors = header.as_object()?.iter().filter(|(name, _)| *name != "__metadata__");
    let mut faults = tensors.filter_map(|(name, tensor)| Some((name, fault(tensor).err()?)));
    faults.next().map(|(name, fault)| format!("its tensor `{name}` has {fault}"))
}

/// Checks the description of a tensor.
fn fault(tensor: &Value) -> Result<(), String> {
    let whole = |field: &str| -> Result<Vec<u64>, String> {
        let numbers = tensor[field].as_array().and_then(|list| list.iter().map(Value::as_u64).collect());
        numbers.ok_or_else(|| format!("the `{field}` {}; expected whole numbers", tensor[field]))
    };
    let dtype: Dtype = serde_json::from_value(tensor["dtype"].clone())
        .map_err(|_| format!("the `dtype` {}, which is not known", tensor["dtype"]))?;
    let (shape, offsets) = (whole("shape")?, whole("data_offsets")?);
    let [start, end] = offsets[..] else {
        return Err(format!("the `data_offsets` {offsets:?}; expected two"));
    };
    let bits = shape.iter().try_fold(dtype.bitsize() as u64, |bits, size| bits.checked_mul(*size));
    match (bits, end.checked_sub(start)) {
        (Some(bits), Some(length)) if bits == length.saturating_mul(8) => Ok(()),
        _ => Err(format!(
            "the `shape` {shape:?}, for which its `data_offsets` {offsets:?} do not hold the bytes"
        )),
    }
}

/// The longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;
