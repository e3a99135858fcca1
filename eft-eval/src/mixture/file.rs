use std::path::Path;

use eft_core::combine::MixtureWeights;

use super::{Error, Result};

/// Writes weights to a file, as JSON.
///
/// ```
/// use eft_core::combine::MixtureWeights;
/// use eft_eval::mixture::{load, save};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("weights.json");
/// let weights = MixtureWeights::constant(&[0.25, 0.75])?;
/// save(&weights, &file)?;
/// assert_eq!(load(&file)?, weights);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::File`] if the file cannot be written.
pub fn save(weights: &MixtureWeights, file: impl AsRef<Path>) -> Result<()> {
    let path = file.as_ref();
    let failed = |source| Error::File { action: "write", path: path.into(), source };
    // Finite numbers and lists of them always have a JSON form.
    let text = serde_json::to_string(weights).map_err(|e| failed(e.into()))?;
    std::fs::write(path, text + "\n").map_err(failed)
}

/// Reads weights that [`save`] has written. Its documentation has an example.
///
/// # Errors
/// * [`Error::File`] if the file cannot be read.
/// * [`Error::Json`] if it is not JSON, or a field is missing, unknown or does not fit the others.
pub fn load(file: impl AsRef<Path>) -> Result<MixtureWeights> {
    let path = file.as_ref();
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.into(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.into(), source })
}
