//! Where a model lies.
use std::path::{Path, PathBuf};

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

/// A model and what lies around it.
pub(super) struct Files {
    /// The graph.
    pub(super) model: PathBuf,
    /// For messages: the folder's name, or the file's.
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
        let named = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let name =
            named.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { model, name, folders })
    }

    fn within(folder: &Path) -> Result<PathBuf> {
        let places = || ["", "onnx"].into_iter().flat_map(|sub| NAMES.map(|name| Path::new(sub).join(name)));
        let found = places().map(|place| folder.join(place)).find(|file| file.is_file());
        found.ok_or_else(|| Error::NoModel {
            folder: folder.into(),
            looked_for: places().map(|place| place.display().to_string()).collect(),
        })
    }

    /// The first of these names that there is, in the folders around the model.
    pub(super) fn beside(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// Bytes of the graph and of the data that lie beside it under its name.
    pub(super) fn bytes(&self) -> u64 {
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let data = ["_data", ".data"].map(|suffix| {
            let mut name = self.model.clone().into_os_string();
            name.push(suffix);
            size(Path::new(&name))
        });
        size(&self.model) + data.iter().sum::<u64>()
    }
}
