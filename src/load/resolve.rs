//! From a model's name to its files.
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
#[cfg(feature = "hub")]
use super::hub;
use super::loader::Loader;

/// The files of a model.
pub(super) enum Resolved {
    /// A folder in Hugging Face's layout.
    Folder(PathBuf),
    /// A GGUF file.
    #[cfg(feature = "candle")]
    Gguf(PathBuf),
}

/// Returns the model's files, downloaded if need be, and the model's name.
pub(super) fn resolve(loader: &Loader) -> Result<(Resolved, String)> {
    let path = Path::new(&loader.name);
    let name = |found: &str| loader.given_name.clone().unwrap_or_else(|| found.to_owned());
    if !path.exists() {
        return on_hub(loader);
    }
    if path.is_dir() {
        // `.` and `..` have no file name until they are made absolute.
        let absolute = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
        let absolute = absolute.as_deref().unwrap_or(path);
        let found = absolute.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        // What an adapter's folder lacks is said where it is read.
        let known = ["config.json", "adapter_config.json"];
        if known.iter().all(|file| !path.join(file).exists()) {
            return Err(not_found(loader, "is a folder without a model: it has no `config.json`"));
        }
        return Ok((Resolved::Folder(path.into()), name(&found)));
    }
    #[cfg(feature = "candle")]
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return Ok((Resolved::Gguf(path.into()), name(&eft_backend_candle::gguf::model_name(path))));
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        let reason = "is an ONNX file: load it with `Loader::load_onnx`, which needs the feature `ort`";
        return Err(not_found(loader, reason));
    }
    let reason = match cfg!(feature = "candle") {
        true => "is a file, but not a GGUF file",
        false => "is a file; GGUF files need the feature `candle`, which this build lacks",
    };
    Err(not_found(loader, reason))
}

/// Returns the path of an ONNX file or of a folder that holds one, downloaded if need be, and the model's name. If the
/// name is `None`, the caller makes it from the path.
#[cfg(feature = "ort")]
pub(super) fn resolve_onnx(loader: &Loader) -> Result<(PathBuf, Option<String>)> {
    let path = PathBuf::from(&loader.name);
    if path.exists() {
        return Ok((path, loader.given_name.clone()));
    }
    #[cfg(feature = "hub")]
    {
        let (id, file) = id(loader)?;
        let path = hub::fetch_onnx(loader, id, file)?;
        Ok((path, Some(loader.given_name.clone().unwrap_or_else(|| loader.name.clone()))))
    }
    #[cfg(not(feature = "hub"))]
    Err(nowhere(loader))
}

#[cfg(feature = "hub")]
fn id(loader: &Loader) -> Result<(&str, Option<&str>)> {
    if loader.name.starts_with("http://") || loader.name.starts_with("https://") {
        return Err(not_found(loader, "is the url of a server, which needs the feature `remote`"));
    }
    hub::parse_id(&loader.name).ok_or_else(|| {
        let reason = "is not a folder or file here, and cannot be an id on the Hugging Face hub, which has the form \
                      `organisation/model`";
        not_found(loader, reason)
    })
}

#[cfg(feature = "hub")]
fn on_hub(loader: &Loader) -> Result<(Resolved, String)> {
    let (id, file) = id(loader)?;
    let name = loader.given_name.clone().unwrap_or_else(|| loader.name.clone());
    #[cfg(feature = "candle")]
    if let Some(file) = file.filter(|file| file.ends_with(".gguf")) {
        return Ok((Resolved::Gguf(hub::fetch_gguf(loader, id, file)?), name));
    }
    if let Some(file) = file {
        let reason = match file.ends_with(".onnx") {
            true => "is an ONNX file: load it with `Loader::load_onnx`, which needs the feature `ort`",
            false => "is a GGUF file, which only a build with the feature `candle` can read",
        };
        return Err(Error::Hub { id: id.into(), file: file.into(), reason: reason.into() });
    }
    Ok((Resolved::Folder(hub::fetch_folder(loader, id)?), name))
}

#[cfg(not(feature = "hub"))]
fn on_hub(loader: &Loader) -> Result<(Resolved, String)> {
    Err(nowhere(loader))
}

#[cfg(not(feature = "hub"))]
fn nowhere(loader: &Loader) -> Error {
    not_found(
        loader,
        "is not a folder or file here; to load models from the Hugging Face hub, enable the feature `hub`",
    )
}

fn not_found(loader: &Loader, reason: &str) -> Error {
    Error::NotFound { name: loader.name.clone(), reason: reason.into() }
}
