//! Where a model lies.
use std::path::{Path, PathBuf};

use super::external::external_data;
use crate::{Error, Result};

/// In the order in which they are looked for: with a cache first, unquantised first.
const NAMES: [&str; 8] = [
    "model.onnx",
    "decoder_model_merged.onnx",
    "decoder_with_past_model.onnx",
    "model_fp16.onnx",
    "model_quantized.onnx",
    "model_int8.onnx",
    "model_q4.onnx",
    "decoder_model.onnx",
];

/// Where a folder may hold its model, in the order in which it is looked for: `model.onnx`, `onnx/model.onnx`, …
pub fn usual_places() -> impl Iterator<Item = String> {
    ["", "onnx/"].into_iter().flat_map(|folder| NAMES.map(|name| format!("{folder}{name}")))
}

/// A model and what lies around it.
pub(super) struct Files {
    /// The graph.
    pub(super) model: PathBuf,
    /// For messages: the file's name, or the folder's, if the file is called as all models are.
    pub(super) name: String,
    /// Folders that may hold configurations, nearest first.
    pub(super) folders: Vec<PathBuf>,
}

impl Files {
    /// Of a file, or of a folder in which one of the usual names is found, also under `onnx/`.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { file: path.into(), source };
        let model = match std::fs::metadata(path).map_err(io)?.is_dir() {
            true => Self::within(path)?,
            false => path.into(),
        };
        let parent = model.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut folders = vec![parent.clone()];
        if parent.file_name().is_some_and(|name| name == "onnx") {
            folders.extend(parent.parent().map(Path::to_path_buf));
        }
        let name = named(&model, folders.last().unwrap_or(&parent));
        Ok(Self { model, name, folders })
    }

    fn within(folder: &Path) -> Result<PathBuf> {
        let found = usual_places().map(|place| folder.join(place)).find(|file| file.is_file());
        found.ok_or_else(|| Error::NoModel { folder: folder.into(), looked_for: usual_places().collect() })
    }

    /// The first of these names that there is, in the folders around the model.
    pub(super) fn beside(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// Bytes of the graph and of the files that its weights lie in.
    pub(super) fn bytes(&self) -> Result<u64> {
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let data = external_data(&self.model)?;
        Ok(size(&self.model) + data.iter().map(|name| size(&self.model.with_file_name(name))).sum::<u64>())
    }
}

/// What to call a model of this file: by its folder, if there are as many of the file's name as there are models.
fn named(model: &Path, folder: &Path) -> String {
    let stem = model.file_stem().unwrap_or(model.as_os_str()).to_string_lossy();
    if !["model", "decoder_model", "decoder_with_past_model"].iter().any(|usual| stem.starts_with(usual)) {
        return stem.into_owned();
    }
    // `.` has no name of its own.
    let whole =
        if folder.file_name().is_none() { Path::new(".").join(folder).canonicalize().ok() } else { None };
    let name = whole.as_deref().unwrap_or(folder).file_name();
    name.map_or(stem, |name| name.to_string_lossy()).into_owned()
}
