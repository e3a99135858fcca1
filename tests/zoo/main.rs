//! The zoo's models: prompts, logits and greedy texts are compared with those of transformers, and the effect of
//! up-scaling is checked. Each backend that runs them is tested, in its own file.
#![cfg(all(feature = "text", any(feature = "candle", feature = "ort", feature = "tch")))]
#[cfg(any(feature = "candle", feature = "tch"))]
mod folders;
mod laws;
#[cfg(feature = "candle")]
mod mixture;

#[cfg(feature = "candle")]
mod bytes;
#[cfg(feature = "candle")]
mod candle;
#[cfg(feature = "candle")]
mod evaluate;
#[cfg(feature = "candle")]
mod examples;
#[cfg(feature = "ort")]
mod ort;
#[cfg(all(feature = "remote", feature = "candle"))]
#[path = "../../eft-backend-remote/tests/all/process.rs"]
mod process;
#[cfg(all(feature = "remote", feature = "candle"))]
mod remote;
#[cfg(feature = "tch")]
mod tch;

use std::path::{Path, PathBuf};

/// The device that the tests run on: the one that `EFT_DEVICE` names, or the processor.
fn device() -> eft::backend::DeviceName {
    std::env::var("EFT_DEVICE").map_or_else(|_| Default::default(), |name| name.parse().unwrap())
}

/// A file or folder of the zoo.
fn zoo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo").join(path)
}
