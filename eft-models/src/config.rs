//! Typed access to the fields of a JSON configuration, with errors that name the file and the field.
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Error, Result};

/// A JSON object: a whole configuration, or an object nested in one.
pub(crate) struct Config<'a> {
    file: &'a Path,
    path: String,
    value: &'a Value,
}

/// The largest size accepted. Anything larger is a mistake or an attack: sizes are multiplied and allocated from.
const MAX_SIZE: u64 = 1 << 24;
/// The largest number of layers accepted. Each layer costs memory as soon as it is described.
pub(crate) const MAX_LAYERS: usize = 1 << 12;

/// Reads a file as text.
pub(crate) fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|source| Error::Io { file: file.into(), source })
}

/// Parses the text of a JSON file.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::BadFile { file: file.into(), reason: e.to_string() })
}

/// Reads and parses a JSON file.
pub(crate) fn read(file: &Path) -> Result<Value> {
    parse(file, &text(file)?)
}

impl<'a> Config<'a> {
    pub(crate) fn new(file: &'a Path, value: &'a Value) -> Self {
        Self { file, path: String::new(), value }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.file.into()
    }

    fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.into() } else { format!("{}.{field}", self.path) }
    }

    /// An [`Error::Config`] for a field of this object.
    pub(crate) fn error(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Config { file: self.file(), field: self.name(field), reason: reason.into() }
    }

    /// The value of a field; `None` if it is absent or null.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.value.get(field).filter(|v| !v.is_null())
    }

    /// A value of this field as a number that is finite, also as an f32.
    pub(crate) fn as_number(&self, field: &str, value: &Value) -> Result<f64> {
        let number = value.as_f64().filter(|x| (*x as f32).is_finite());
        number.ok_or_else(|| self.error(field, format!("is {}; expected a finite number", shortened(value))))
    }

    /// A value of this field as a positive whole number.
    pub(crate) fn as_size(&self, field: &str, value: &Value) -> Result<usize> {
        match value.as_u64() {
            Some(size) if (1..=MAX_SIZE).contains(&size) => Ok(size as usize),
            _ => {
                let value = shortened(value);
                Err(self.error(field, format!("is {value}; expected a whole number from 1 to {MAX_SIZE}")))
            }
        }
    }

    /// A nested object; `None` if the field is absent or null.
    pub(crate) fn object(&self, field: &str) -> Result<Option<Config<'a>>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        if !value.is_object() {
            return Err(self.error(field, format!("is {}; expected an object", shortened(value))));
        }
        Ok(Some(Config { file: self.file, path: self.name(field), value }))
    }

    /// A required positive whole number.
    pub(crate) fn size(&self, field: &str) -> Result<usize> {
        let value = self.get(field).ok_or_else(|| self.error(field, "is missing"))?;
        self.as_size(field, value)
    }

    /// A required number of layers.
    pub(crate) fn layers(&self, field: &str) -> Result<usize> {
        let layers = self.size(field)?;
        if layers > MAX_LAYERS {
            return Err(self.error(field, format!("is {layers}; expected at most {MAX_LAYERS}")));
        }
        Ok(layers)
    }

    pub(crate) fn size_or(&self, field: &str, default: usize) -> Result<usize> {
        self.get(field).map_or(Ok(default), |v| self.as_size(field, v))
    }

    pub(crate) fn optional_size(&self, field: &str) -> Result<Option<usize>> {
        self.get(field).map(|v| self.as_size(field, v)).transpose()
    }

    /// A size that is `default` if the field is absent, and none if it is null.
    pub(crate) fn optional_size_or(&self, field: &str, default: usize) -> Result<Option<usize>> {
        match self.value.get(field) {
            None => Ok(Some(default)),
            Some(_) => self.optional_size(field),
        }
    }

    pub(crate) fn number_or(&self, field: &str, default: f64) -> Result<f64> {
        self.get(field).map_or(Ok(default), |v| self.as_number(field, v))
    }

    /// A required number that is greater than 0.
    pub(crate) fn positive(&self, field: &str) -> Result<f64> {
        let number = self.number(field)?;
        if number > 0.0 {
            return Ok(number);
        }
        Err(self.error(field, format!("is {number}; expected a number greater than 0")))
    }

    /// A required finite number.
    pub(crate) fn number(&self, field: &str) -> Result<f64> {
        let value = self.get(field).ok_or_else(|| self.error(field, "is missing"))?;
        self.as_number(field, value)
    }

    pub(crate) fn optional_number(&self, field: &str) -> Result<Option<f64>> {
        self.get(field).map(|v| self.as_number(field, v)).transpose()
    }

    /// A required list of numbers.
    pub(crate) fn numbers(&self, field: &str) -> Result<Vec<f32>> {
        let list = self.get(field).and_then(Value::as_array);
        let list = list.ok_or_else(|| self.error(field, "is missing, or is not a list of numbers"))?;
        list.iter().map(|v| Ok(self.as_number(field, v)? as f32)).collect()
    }

    pub(crate) fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(default),
            Some(v) => {
                let wrong = || self.error(field, format!("is {}; expected true or false", shortened(v)));
                v.as_bool().ok_or_else(wrong)
            }
        }
    }

    /// A string; `None` if the field is absent or null.
    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        // All texts that are known are short.
        let text = value.as_str().filter(|text| text.len() <= 200);
        text.map(Some)
            .ok_or_else(|| self.error(field, format!("is {}; expected a short string", shortened(value))))
    }

    /// A list of strings; `None` if the field is absent or null.
    pub(crate) fn texts(&self, field: &str) -> Result<Option<Vec<&'a str>>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.error(field, "is not a list of strings"))
    }

    /// Token ids, given as a single id or as a list; empty if the field is absent or null. Integers that no token can
    /// have, such as −1, are left out: files in use have them.
    pub(crate) fn ids(&self, field: &str) -> Result<Vec<u32>> {
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let one = std::slice::from_ref(value);
        let list = value.as_array().map_or(one, Vec::as_slice);
        let is_integer = |v: &Value| v.is_i64() || v.is_u64();
        if let Some(other) = list.iter().find(|v| !is_integer(v)) {
            return Err(self.error(field, format!("holds {}; expected token ids", shortened(other))));
        }
        Ok(list.iter().filter_map(|v| u32::try_from(v.as_u64()?).ok()).collect())
    }
}

/// A value as it is shown in errors.
fn shortened(value: &Value) -> String {
    shortened_text(&value.to_string())
}

/// The beginning of a text, as it is shown in errors.
pub(crate) fn shortened_text(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
