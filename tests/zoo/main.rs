//! The zoo's models against what transformers says of them: prompts, logits, greedy texts; and what up-scaling is worth.
//! The same for every backend that runs them, a file for each.
#![cfg(all(feature = "text", any(feature = "candle", feature = "ort", feature = "tch")))]
#[cfg(any(feature = "candle", feature = "tch"))]
mod folders;
mod laws;

#[cfg(feature = "candle")]
mod candle;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tch")]
mod tch;

use std::path::{Path, PathBuf};

/// A file or folder of the zoo.
fn zoo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo").join(path)
}
