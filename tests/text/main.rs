//! Tokenizers and chat templates, compared with transformers and llama.cpp; loading models by name; and broken files.
mod broken;
mod canonical;
mod covering;
mod defaults;
mod errors;
mod folders;
mod gguf;
#[cfg(feature = "grammar")]
mod grammar;
mod hub;
mod literal;
mod loading;
mod mutations;
#[cfg(feature = "ort")]
mod onnx;
mod processors;
mod reexports;
mod templates;
mod tokenizers;

use std::path::PathBuf;

/// A file in the folder of these tests.
fn here(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "text", name].iter().collect()
}

fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(here(name)).unwrap()).unwrap()
}
