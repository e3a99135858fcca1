//! [`Error`]: what is wrong with a configuration file, and where.
use std::fmt;

/// A fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    file: String,
    line: Option<usize>,
    key: String,
    reason: String,
}

impl Error {
    /// A fault of the whole file.
    pub(super) fn file(file: &str, reason: String) -> Self {
        Self::at(file, None, "", reason)
    }

    pub(super) fn at(file: &str, line: Option<usize>, key: &str, reason: String) -> Self {
        Self { file: file.into(), line, key: key.into(), reason }
    }

    /// A fault that the reader of TOML found at this key.
    pub(super) fn toml(file: &str, text: &str, error: &toml::de::Error, key: &str) -> Self {
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map(|before| before.matches('\n').count() + 1);
        let key = if key == "." { "" } else { key };
        Self::at(file, line, key, error.message().to_owned())
    }

    /// Returns the line at fault, counted from 1, if it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Returns the key at fault, such as `models.large`; empty if it is not known.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", `{}`", self.key)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Error {}

/// The line on which the last part of a key is set, as far as that can be told from the text: the first line that begins with
/// it after the header of its table.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let parts: Vec<_> = key.split('.').collect();
    let begins = |line: &str, name: &str| {
        line.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', '.', ']']))
    };
    // The longest header that the key begins with, then the first line in it with the part after.
    (1..=parts.len()).rev().find_map(|length| {
        let header = format!("[{}]", parts[..length].join("."));
        let at = text.lines().position(|line| line.trim() == header)?;
        let part = parts.get(length).copied().unwrap_or_default();
        let within =
            text.lines().enumerate().skip(at + 1).take_while(|(_, line)| !line.trim().starts_with('['));
        let found = within.into_iter().find(|(_, line)| begins(line, part)).map(|(index, _)| index);
        Some(found.unwrap_or(at) + 1)
    })
}
