//! [`load()`]: from a folder or file to a source, in one call.
//!
//! ```no_run
//! use eft_backend_ort::{Ort, load};
//! use eft_core::{Sampling, Vocab};
//!
//! let ort = Ort::cpu()?;
//! // Said once: these models have one vocabulary, which this token ends texts with.
//! let vocab = Vocab::anonymous("SmolLM2", 49_152)?.with_eos([2])?;
//! let model = |folder: &str| load(folder, &ort, Some(vocab.clone()));
//!
//! let (large, tuned, untuned) = (model("SmolLM2-1.7B")?, model("SmolLM2-135M-Instruct")?, model("SmolLM2-135M")?);
//! let upscaled = &large + (&tuned - &untuned);
//! let text = upscaled.generate([1, 5, 9], Sampling::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::path::Path;
use std::sync::Arc;

use eft_core::{Source, Vocab};

use crate::model::OnnxEngine;
use crate::{Ort, Result};

/// Loads a decoder: a `.onnx` file, or a folder as Optimum and onnx-community lay it out, with its configuration
/// beside it. Takes prompts of token ids.
///
/// Models can be added only where they are given the same `vocab`, which is the caller's word that their ids mean
/// the same. Without one, a model relates to itself only.
///
/// # Errors
/// As [`OnnxEngine::load`].
pub fn load(path: impl AsRef<Path>, ort: &Ort, vocab: Option<Vocab>) -> Result<Source<Ort>> {
    Ok(Source::new(OnnxEngine::load(path, ort, vocab.map(Arc::new))?))
}
