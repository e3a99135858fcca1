//! [`load()`]: from a folder or file to a source, in one call.
use std::path::Path;
use std::sync::Arc;

use eft_core::{Source, Vocab};

use crate::model::OnnxEngine;
use crate::{Ort, Result};

/// Loads a decoder from a `.onnx` file, or from a folder in the layout of Optimum and onnx-community. The source takes
/// prompts of token ids.
///
/// Only sources over one vocabulary can be combined. So give all models the same `vocab`, and make sure that their ids
/// mean the same tokens: this function reads no tokenizer and cannot check it. Without a `vocab`, a model can be
/// combined with itself only.
///
/// [`OnnxEngine::load`] also gives access to the [warnings](OnnxEngine::warnings) that the tests of the model gave.
///
/// ```no_run
/// use eft_backend_ort::{Ort, load};
/// use eft_core::{Sampling, Vocab};
///
/// let ort = Ort::cpu()?;
/// let vocab = Vocab::anonymous("SmolLM2", 49_152)?.with_eos([2])?;
/// let model = |folder: &str| load(folder, &ort, Some(vocab.clone()));
///
/// let (large, tuned, untuned) = (model("SmolLM2-1.7B")?, model("SmolLM2-135M-Instruct")?, model("SmolLM2-135M")?);
/// let upscaled = &large + (&tuned - &untuned);
/// let text = upscaled.generate([1, 5, 9], Sampling::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// * [`Error::Io`](crate::Error::Io) if a file or folder cannot be read.
/// * [`Error::NoModel`](crate::Error::NoModel) if the folder holds no model.
/// * [`Error::Config`](crate::Error::Config) if a configuration is invalid.
/// * [`Error::BadModel`](crate::Error::BadModel) if ONNX Runtime rejects the model.
/// * [`Error::Interface`](crate::Error::Interface) if its inputs or outputs are not those of a decoder.
/// * [`Error::Cache`](crate::Error::Cache) if its logits with a cache differ from those without.
/// * [`Error::Core`](crate::Error::Core) if `vocab` and the logits differ in width.
/// * [`Error::Ort`](crate::Error::Ort) if ONNX Runtime fails.
pub fn load(path: impl AsRef<Path>, ort: &Ort, vocab: Option<Vocab>) -> Result<Source<Ort>> {
    Ok(Source::new(OnnxEngine::load(path, ort, vocab.map(Arc::new))?))
}
