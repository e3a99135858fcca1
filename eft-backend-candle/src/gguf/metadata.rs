//! [`Metadata`]: typed access to the metadata of a file, with errors that name the field.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Value;
use eft_models::{Error, Result};

/// The metadata of a file: values by field name.
pub(super) struct Metadata {
    pub(super) file: PathBuf,
    fields: HashMap<String, Value>,
}

impl Metadata {
    pub(super) fn new(file: &Path, fields: HashMap<String, Value>) -> Self {
        Self { file: file.into(), fields }
    }

    /// An error that names a field of the file.
    pub(super) fn wrong(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Config { file: self.file.clone(), field: field.into(), reason: reason.into() }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&str>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "is not a string")),
        }
    }

    pub(super) fn required_text(&self, field: &str) -> Result<&str> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    pub(super) fn list(&self, field: &str) -> Result<Option<&[Value]>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(field, "is not an array")),
        }
    }

    /// A non-negative integer, of any integer type.
    pub(super) fn whole(&self, field: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = whole(value).ok_or_else(|| self.wrong(field, "is not a non-negative integer"))?;
        Ok(Some(number))
    }

    /// A finite number, of any numeric type.
    pub(super) fn number(&self, field: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = match value {
            Value::F32(x) => Some(f64::from(*x)),
            Value::F64(x) => Some(*x),
            value => whole(value).map(|x| x as f64),
        };
        let number = number.filter(|x| x.is_finite());
        Ok(Some(number.ok_or_else(|| self.wrong(field, "is not a finite number"))?))
    }
}

/// Converts a non-negative integer of any type: files differ in the integer types of a field.
pub(super) fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::I8(x) => u64::try_from(*x).ok(),
        Value::I16(x) => u64::try_from(*x).ok(),
        Value::I32(x) => u64::try_from(*x).ok(),
        Value::I64(x) => u64::try_from(*x).ok(),
        Value::Bool(_) => None,
        value => value.to_u64().ok(),
    }
}
