//! [`Key`]: the key that a server asks for, which is never shown.
use std::fmt;

use ureq::http::HeaderValue;

use crate::error::{Error, Result};

/// A key, sent as `Authorization: Bearer …`.
pub(crate) struct Key(String);

impl Key {
    /// Reads the key from an environment variable. Errors name the variable and the url.
    pub(crate) fn read(variable: &str, url: &str) -> Result<Self> {
        let wrong = |reason| Error::Key { url: url.into(), variable: variable.into(), reason };
        let valid = !variable.is_empty() && !variable.contains(['=', '\0']);
        let found = if valid { std::env::var_os(variable) } else { return Err(wrong("has no valid name")) };
        let key = found.ok_or_else(|| wrong("is not set"))?;
        let key = key.into_string().map_err(|_| wrong("is not UTF-8"))?;
        let key = Self(key.trim().to_owned());
        match key.0.is_empty() {
            true => Err(wrong("is empty")),
            false if HeaderValue::from_str(&key.0).is_err() => {
                Err(wrong("has characters that no key can have"))
            }
            false => Ok(key),
        }
    }

    /// The value of the header, which the client's own logs do not show.
    pub(crate) fn header(&self) -> HeaderValue {
        // `read` has checked the characters.
        let value = HeaderValue::from_str(&format!("Bearer {}", self.0));
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }

    /// The text without the key.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "(key)")
    }

    #[cfg(test)]
    pub(crate) fn of(key: &str) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = Key::of("sk-secret");
        assert!(!format!("{key:?} {:?}", key.header()).contains("secret"));
        assert_eq!(key.hidden_in("invalid key sk-secret!"), "invalid key (key)!");
        assert_eq!(key.header().to_str().unwrap(), "Bearer sk-secret");
    }

    #[test]
    fn a_variable_that_holds_no_key_is_named() {
        for variable in ["EFT_TEST_NO_SUCH_KEY", "", "A=B"] {
            let error = Key::read(variable, "http://host").unwrap_err();
            assert!(matches!(&error, Error::Key { variable: named, .. } if named == variable), "{error}");
        }
    }
}
