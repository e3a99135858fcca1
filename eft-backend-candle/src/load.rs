//! [`load()`]: loads a folder as a source, in one call.
//!
//! ```
//! use eft_backend_candle::{Candle, load};
//! use eft_core::{Sampling, Vocab};
//!
//! let folder = |name: &str| format!("{}/../eft-models/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
//! // The vocabulary that these models share: 96 tokens, of which token 2 ends a text.
//! let vocab = Vocab::anonymous("of the tiny models", 96)?.with_eos([2])?;
//! let model = |name: &str| load(folder(name), &Candle::cpu(), Some(vocab.clone()));
//!
//! let (large, tuned, untuned) = (model("llama")?, model("qwen2")?, model("qwen3")?);
//! let upscaled = &large + (&tuned - &untuned);
//! assert_eq!(upscaled.name(), "llama + (qwen2 − qwen3)");
//! assert!(upscaled.generate([1, 5, 9], Sampling::default())?.count() > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::path::Path;
use std::sync::Arc;

use eft_core::{Source, Vocab};
use eft_models::{Checkpoint, DecoderEngine, Result};

use crate::{Candle, CandleNn};

/// Loads a checkpoint in Hugging Face's layout, a folder of `config.json` and safetensors files, as a source whose
/// prompts are token ids.
///
/// Unlike `eft::load`, this function reads no tokenizer. Two models can be combined only if both are loaded with the
/// same `vocab`, by which the caller asserts that their token ids mean the same. A model loaded without a vocabulary
/// can be combined only with itself and its own adapters.
///
/// # The files must not change
/// Weights are mapped into memory (see [`Checkpoint::open`]). The files must not be changed or truncated in place as
/// long as the model exists: that would be undefined behaviour. Replacing a file by renaming another to its name is
/// fine.
///
/// # Errors
/// * [`Error::Io`](eft_models::Error::Io) if a file is missing or cannot be read.
/// * [`Error::Config`](eft_models::Error::Config) if `config.json` lacks a field, or a field has an unsupported value.
/// * [`Error::UnknownArchitecture`](eft_models::Error::UnknownArchitecture) if the model's family is not supported.
/// * [`Error::BadFile`](eft_models::Error::BadFile) if the header of a safetensors file is damaged.
/// * [`Error::BadTensor`](eft_models::Error::BadTensor) if a tensor is missing, or has another shape or type than the
///   configuration implies.
/// * [`Error::Core`](eft_models::Error::Core) if `vocab` has more tokens than the model has logits, or if candle fails.
pub fn load(folder: impl AsRef<Path>, candle: &Candle, vocab: Option<Vocab>) -> Result<Source<Candle>> {
    let checkpoint = Checkpoint::open(folder)?;
    let engine = DecoderEngine::load(CandleNn::new(candle.clone()), &checkpoint, vocab.map(Arc::new))?;
    Ok(Source::new(engine))
}
