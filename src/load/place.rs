//! From a name to where the model's files are.
use std::path::{Path, PathBuf};

use super::{Error, Loader, Result};

/// Where a model's files are.
pub(super) enum Place {
    /// In a folder in Hugging Face's layout.
    Folder(PathBuf),
    /// All in one.
    #[cfg(feature = "candle")]
    Gguf(PathBuf),
}

impl Loader {
    /// Where the model is, and what it is called.
    pub(super) fn place(&self) -> Result<(Place, String)> {
        let path = Path::new(&self.name);
        let called = |name: &str| self.called.clone().unwrap_or_else(|| name.to_owned());
        if !path.exists() {
            return self.place_on_hub();
        }
        if path.is_dir() {
            // `.` has no name of its own.
            let whole = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
            let whole = whole.as_deref().unwrap_or(path);
            let name = whole.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            return Ok((Place::Folder(path.into()), called(&name)));
        }
        #[cfg(feature = "candle")]
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
            return Ok((Place::Gguf(path.into()), called(&name)));
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
            return Err(self.not_found(
                "is an ONNX file: those are loaded by `Loader::load_onnx`, with the feature `ort`",
            ));
        }
        Err(self.not_found("is a file, but no GGUF file that this build reads"))
    }

    /// An ONNX file, or a folder with one; and what it is called, unless by where it lies.
    #[cfg(feature = "ort")]
    pub(super) fn onnx_place(&self) -> Result<(PathBuf, Option<String>)> {
        let path = PathBuf::from(&self.name);
        if path.exists() {
            return Ok((path, self.called.clone()));
        }
        #[cfg(feature = "hub")]
        {
            let (id, file) = self.id()?;
            let path = super::hub::fetch_onnx(self, id, file)?;
            Ok((path, Some(self.called.clone().unwrap_or_else(|| self.name.clone()))))
        }
        #[cfg(not(feature = "hub"))]
        Err(self.nowhere())
    }

    #[cfg(feature = "hub")]
    fn id(&self) -> Result<(&str, Option<&str>)> {
        super::hub::id(&self.name).ok_or_else(|| {
            self.not_found(
                "is neither a folder or file there is, nor an id of the hub: those are `organisation/model`",
            )
        })
    }

    #[cfg(feature = "hub")]
    fn place_on_hub(&self) -> Result<(Place, String)> {
        let (id, file) = self.id()?;
        let name = self.called.clone().unwrap_or_else(|| self.name.clone());
        super::hub::fetch(self, id, file).map(|place| (place, name))
    }

    #[cfg(not(feature = "hub"))]
    fn place_on_hub(&self) -> Result<(Place, String)> {
        Err(self.nowhere())
    }

    #[cfg(not(feature = "hub"))]
    fn nowhere(&self) -> Error {
        self.not_found("is no folder or file there is; models of the hub are loaded with the feature `hub`")
    }

    fn not_found(&self, reason: &str) -> Error {
        Error::NotFound { name: self.name.clone(), reason: reason.into() }
    }
}
