//! Broken checkpoints: an error that names the file and the tensor or field, no panic, no huge allocation.
mod fields;
mod files;
mod quantised;

use std::path::{Path, PathBuf};

use eft_models::{Checkpoint, Error};
use serde_json::Value;

fn golden(family: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", family].iter().collect()
}

/// A copy of a checkpoint, to be damaged.
fn copy(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden(family).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let file = folder.join("config.json");
    let mut value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(file, value.to_string()).unwrap();
}

/// Opens a checkpoint and reads every tensor that its configuration names.
fn read_all(folder: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(folder)?;
    let spec = checkpoint.spec();
    checkpoint.tensor(&format!("{}.weight", spec.embedding), &[spec.vocab, spec.hidden])?;
    for layer in &spec.layers {
        if let Some(norm) = &layer.attention_norm {
            checkpoint.tensor(&format!("{}.weight", norm.name), &[norm.width])?;
        }
        for linear in layer.linears().into_iter().rev() {
            checkpoint.tensor(&format!("{}.weight", linear.name), &linear.stored_shape())?;
        }
    }
    Ok(())
}
