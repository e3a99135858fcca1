//! [`Files`]: the file of a model, and the folders around it.
use std::path::{Path, PathBuf};

use super::external::external_data;
use crate::{Error, Result};

/// The usual names in order of preference: models with a cache first, unquantised ones first.
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

/// Returns the paths at which a model's folder may hold its graph, relative to the folder, in the order in which they
/// are tried.
///
/// ```
/// use eft_backend_ort::model::usual_paths;
///
/// assert_eq!(usual_paths().next().as_deref(), Some("model.onnx"));
/// assert!(usual_paths().any(|path| path == "onnx/decoder_model_merged.onnx"));
/// ```
pub fn usual_paths() -> impl Iterator<Item = String> {
    ["", "onnx/"].into_iter().flat_map(|folder| NAMES.map(|name| format!("{folder}{name}")))
}

/// The file of a model, and the folders around it.
pub(super) struct Files {
    /// The graph.
    pub(super) model: PathBuf,
    /// The name of the model: its folder's if the file has a usual name, else its file's.
    pub(super) name: String,
    /// The folders that may hold configurations, nearest first.
    pub(super) folders: Vec<PathBuf>,
}

impl Files {
    /// Finds the model at `path`: a file, or a folder that holds a file at one of the [`usual_paths`].
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
        let name = model_name(&model, folders.last().unwrap_or(&parent));
        Ok(Self { model, name, folders })
    }

    fn within(folder: &Path) -> Result<PathBuf> {
        let found = usual_paths().map(|path| folder.join(path)).find(|file| file.is_file());
        found.ok_or_else(|| Error::NoModel { folder: folder.into(), tried: usual_paths().collect() })
    }

    /// The file of this name that is nearest to the model, if there is one.
    pub(super) fn companion(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// The size in bytes of the graph and of the files that hold its weights.
    pub(super) fn bytes(&self) -> Result<u64> {
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let data = external_data(&self.model)?;
        Ok(size(&self.model) + data.iter().map(|name| size(&self.model.with_file_name(name))).sum::<u64>())
    }
}

/// The name of the folder if the file has a usual name such as `model.onnx`, else the name of the file.
fn model_name(model: &Path, folder: &Path) -> String {
    let stem = model.file_stem().unwrap_or(model.as_os_str()).to_string_lossy();
    if !["model", "decoder_model", "decoder_with_past_model"].iter().any(|usual| stem.starts_with(usual)) {
        return stem.into_owned();
    }
    // A relative path like `.` has no name until it is resolved.
    let whole =
        if folder.file_name().is_none() { Path::new(".").join(folder).canonicalize().ok() } else { None };
    let name = whole.as_deref().unwrap_or(folder).file_name();
    name.map_or(stem, |name| name.to_string_lossy()).into_owned()
}
