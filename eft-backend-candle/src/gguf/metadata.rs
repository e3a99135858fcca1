//! [`Metadata`]: typed access to the metadata of a file, with errors that name the field.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Value;
use eft_core::TokenId;
use eft_models::{Error, FieldWarning, Result};

/// The metadata of a file: values by field name.
pub(super) struct Metadata {
    pub(super) file: PathBuf,
    fields: HashMap<String, Value>,
    pub(super) warnings: Vec<FieldWarning>,
}

impl Metadata {
    pub(super) fn new(file: &Path, fields: HashMap<String, Value>) -> Self {
        Self { file: file.into(), fields, warnings: Vec::new() }
    }

    /// An error that names a field of the file.
    pub(super) fn wrong(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Config { file: self.file.clone(), field: field.into(), reason: reason.into() }
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
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

    /// The id of a token. An integer that is none of the file's `count` tokens is ignored with a warning: converters
    /// have written −1, and ids of padding.
    pub(super) fn token_id(&mut self, field: &str, count: usize) -> Result<Option<TokenId>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = integer(value).ok_or_else(|| self.wrong(field, "is not an integer"))?;
        let id = TokenId::try_from(number).ok().filter(|id| (*id as usize) < count);
        if id.is_none() {
            let finding = format!("is {number}, which is not a token of the file: it is ignored");
            self.warn(field, finding);
        }
        Ok(id)
    }

    /// Records a warning, unless there is one of the field already.
    pub(super) fn warn(&mut self, field: &str, finding: impl Into<String>) {
        if !self.warnings.iter().any(|warning| warning.field == field) {
            self.warnings.push(FieldWarning::new(&self.file, field, finding));
        }
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
    integer(value).and_then(|number| u64::try_from(number).ok())
}

/// Converts an integer of any type.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::I8(x) => Some((*x).into()),
        Value::I16(x) => Some((*x).into()),
        Value::I32(x) => Some((*x).into()),
        Value::I64(x) => Some((*x).into()),
        Value::Bool(_) => None,
        value => value.to_u64().ok().map(i128::from),
    }
}
