//! [`Metadata`]: typed access to the metadata of a file, with errors that name the field.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use eft_core::TokenId;
use eft_models::{Error, FieldWarning, Result};

use super::texts::Texts;
use super::value::{List, Value};

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
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "is not a string")),
        }
    }

    pub(super) fn required_text(&self, field: &str) -> Result<&str> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    pub(super) fn list(&self, field: &str) -> Result<Option<&List>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(field, "is not an array")),
        }
    }

    /// Takes out a list of texts, which is larger than all other fields together.
    pub(super) fn take_texts(&mut self, field: &str) -> Result<Option<Texts>> {
        self.list(field)?;
        let Some(Value::List(list)) = self.fields.remove(field) else { return Ok(None) };
        let texts = list.into_texts().ok_or_else(|| self.wrong(field, "has entries that are not strings"))?;
        Ok(Some(texts))
    }

    /// A list, of which every entry is `read`. `expected` says what the entries should be.
    pub(super) fn entries<T>(
        &self,
        field: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(list) = self.list(field)? else { return Ok(None) };
        let wrong = || self.wrong(field, format!("has an entry that is not {expected}"));
        let entries = list.scalars().ok_or_else(wrong)?;
        entries.map(|entry| read(&entry)).collect::<Option<_>>().map(Some).ok_or_else(wrong)
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(field, "is not a boolean")),
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
        let Value::Integer(number) = *value else { return Err(self.wrong(field, "is not an integer")) };
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
        let number = number(value).filter(|x| x.is_finite());
        Ok(Some(number.ok_or_else(|| self.wrong(field, "is not a finite number"))?))
    }
}

/// Converts a non-negative integer: files differ in the integer types of a field.
pub(super) fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Converts a number of any type.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}
