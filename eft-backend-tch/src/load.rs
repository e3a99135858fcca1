//! [`load()`]: from a folder to a source, in one call.
use std::path::Path;
use std::sync::Arc;

use eft_core::{Source, Vocab};
use eft_models::{Checkpoint, DecoderEngine, Result};

use crate::{Torch, TorchNn};

/// Loads a checkpoint in Hugging Face's layout: a folder with `config.json` and safetensors files. The source takes
/// prompts of token ids.
///
/// Only sources over one vocabulary can be combined. So give all models the same `vocab`, and make sure that their ids
/// mean the same tokens: unlike `eft::Loader`, this function reads no tokenizer and cannot check it. Without a `vocab`, a
/// model can be combined with itself only.
///
/// ```
/// use eft_backend_tch::{Torch, TorchNn, load};
/// use eft_core::{Sampling, Vocab};
///
/// let folder = |name: &str| format!("{}/../eft-models/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
/// let vocab = Vocab::anonymous("of the tiny models", 96)?.with_eos([2])?;
/// let model = |name: &str| load(folder(name), &TorchNn::new(Torch::cpu()), Some(vocab.clone()));
///
/// let (large, tuned, untuned) = (model("llama")?, model("qwen2")?, model("qwen3")?);
/// let upscaled = &large + (&tuned - &untuned);
/// assert_eq!(upscaled.name(), "llama + (qwen2 − qwen3)");
/// assert!(upscaled.generate([1, 5, 9], Sampling::default())?.count() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The files must not change
/// Weights are mapped into memory while they are loaded. The files must not be changed or truncated in place as long as
/// the model exists: that would be undefined behaviour. Replacing a file by renaming another to its name is fine.
///
/// # Errors
/// * Any error of [`Checkpoint::open`]: a missing or invalid file, or an unsupported family.
/// * Any error of [`DecoderEngine::load`]: a missing tensor or one of another shape, a `vocab` of another width, or a
///   failure of libtorch.
pub fn load(folder: impl AsRef<Path>, nn: &TorchNn, vocab: Option<Vocab>) -> Result<Source<Torch>> {
    let checkpoint = Checkpoint::open(folder)?;
    Ok(Source::new(DecoderEngine::load(nn.clone(), &checkpoint, vocab.map(Arc::new))?))
}
