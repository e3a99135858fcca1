//! Text around models: tokenizers and templates as transformers has them, loading, and what is broken.
mod broken;
mod gguf;
mod hub;
mod loading;
#[cfg(feature = "ort")]
mod onnx;
mod templates;
mod tokenizers;

use std::path::PathBuf;

/// A file beside these tests.
fn here(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "text", name].iter().collect()
}

fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(here(name)).unwrap()).unwrap()
}
