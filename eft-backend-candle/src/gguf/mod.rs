//! [`Gguf`]: a GGUF file as a checkpoint, mapped into memory and multiplied with as it is.
//!
//! On the processor, activations are rounded to bytes for products with quantised tensors: scores differ from those of
//! the dequantised model by what that rounds away. [`Gguf::dequantised`] gives the latter, in four bytes a weight.
//!
//! The decoder is the one of all checkpoints: metadata becomes the configuration of the same family, and what GGUF
//! stores otherwise is undone. Supported architectures: llama, qwen2, qwen3, gemma2, gemma3, phi3, gpt2.
//!
//! ```no_run
//! use eft_backend_candle::{Candle, load_gguf};
//!
//! // Of one family: their vocabularies are read from the files, and found to be the same.
//! let large = load_gguf("qwen2.5-1.5b-q4_k_m.gguf", &Candle::cpu())?;
//! let tuned = load_gguf("qwen2.5-0.5b-instruct-q4_k_m.gguf", &Candle::cpu())?;
//! let untuned = load_gguf("qwen2.5-0.5b-q4_k_m.gguf", &Candle::cpu())?;
//! let upscaled = &large + (&tuned - &untuned);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod config;
mod header;
mod metadata;
mod names;
mod tensors;
mod tokenizer;
mod vocab;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::{Source, Vocab};
use eft_models::spec::{LayerSpec, Layout, NormKind, Projection};
use eft_models::{DecoderEngine, DecoderSpec, Error, RawTensor, Result, Weights};

use crate::{Candle, CandleNn};
use metadata::Metadata;
use tensors::Tensors;
pub use tokenizer::{TokenKind, TokenizerFields};

/// A GGUF file. Its header is in memory, its tensors are mapped.
pub struct Gguf {
    path: PathBuf,
    name: String,
    spec: DecoderSpec,
    tokenizer: Option<TokenizerFields>,
    vocab: Option<Arc<Vocab>>,
    tensors: Tensors,
    /// Rows of queries and keys are stored in the order of the original Llama.
    interleaved: bool,
    dequantised: bool,
}

impl Gguf {
    /// Opens a file: reads its header, and maps its tensors into memory, so that a weight is read when it is first used.
    ///
    /// # The file must not change
    /// The file must not be changed or truncated in place as long as this value, or an engine loaded from it, exists:
    /// that would be undefined behaviour. Replacing it by renaming another file to its name is fine. Where you cannot
    /// vouch for the file, use [`open_in_memory`](Self::open_in_memory).
    ///
    /// # Errors
    /// * [`Error::Io`] if the file cannot be read.
    /// * [`Error::BadFile`] if the header contradicts itself or the file's length.
    /// * [`Error::UnknownArchitecture`] if the architecture is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    /// * [`Error::BadTensor`] if a tensor is of an unsupported type, or lies outside the file.
    pub fn open(file: impl AsRef<Path>) -> Result<Self> {
        Self::read(file.as_ref().into(), true)
    }

    /// Opens a file as [`open`](Self::open) does, but reads all of it into memory at once. It may change afterwards.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_in_memory(file: impl AsRef<Path>) -> Result<Self> {
        Self::read(file.as_ref().into(), false)
    }

    fn read(path: PathBuf, mapped: bool) -> Result<Self> {
        let (fields, tensors) = header::read(&path, mapped)?;
        let metadata = Metadata::new(&path, fields);
        let architecture = metadata.required_text("general.architecture")?.to_owned();
        let mut spec = config::spec(&metadata, &architecture, &tensors)?;
        spec.layers.iter_mut().for_each(as_stored);
        as_stored_norm(&mut spec.final_norm.kind);
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let tokenizer = TokenizerFields::read(&metadata)?;
        let vocab = tokenizer.as_ref().map(|fields| vocab::read(&metadata, fields, &name, &spec));
        let vocab = vocab.transpose()?.map(Arc::new);
        let interleaved = architecture == "llama";
        Ok(Self { path, name, spec, tokenizer, vocab, tensors, interleaved, dequantised: false })
    }

    /// The same with its tensors brought to f32 as they are read: as exact as the file, in the memory and time that a
    /// model in f32 takes.
    pub fn dequantised(self) -> Self {
        Self { dequantised: true, ..self }
    }

    /// The vocabulary that the file describes; `None` where it has none, or one of a kind not known here.
    pub fn vocab(&self) -> Option<&Arc<Vocab>> {
        self.vocab.as_ref()
    }

    /// What the file tells of its tokenizer; `None` where it has none, or one of a kind not known here.
    pub fn tokenizer(&self) -> Option<&TokenizerFields> {
        self.tokenizer.as_ref()
    }

    /// The same file under another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Heads of the rows of a tensor, if those are stored in the order of the original Llama.
    fn interleaved_heads(&self, name: &str) -> Option<usize> {
        let attention = &self.spec.layers.first()?.attention;
        let of = |part: &str| name.contains(part);
        match self.interleaved {
            true if of(".self_attn.q_proj.") => Some(attention.heads),
            true if of(".self_attn.k_proj.") => Some(attention.kv_heads),
            _ => None,
        }
    }
}

impl Weights for Gguf {
    fn name(&self) -> Cow<'_, str> {
        Cow::from(&self.name)
    }

    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn bytes(&self) -> u64 {
        self.tensors.bytes(self.dequantised)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        let Some(stored) = names::stored(name, &self.spec) else {
            let reason = "has no counterpart in GGUF files".into();
            return Err(Error::BadTensor { file: self.path.clone(), tensor: name.into(), reason });
        };
        let raw = self.tensors.read(&stored, shape, self.dequantised)?;
        Ok(match self.interleaved_heads(name) {
            Some(heads) => raw.reordered(halves(heads, shape[0] / heads)),
            None => raw,
        })
    }
}

/// Rotary embedding pairs neighbours in the original Llama, as in its GGUF files, and halves of a head elsewhere.
fn halves(heads: usize, width: usize) -> impl Iterator<Item = usize> {
    let head =
        move |h: usize| (0..2).flat_map(move |half| (0..width / 2).map(move |i| h * width + 2 * i + half));
    (0..heads).flat_map(head)
}

/// GGUF files hold matrices with a row for each output, always, and Gemma's norms with the one already added.
fn as_stored(layer: &mut LayerSpec) {
    let attention = &mut layer.attention;
    let (query_norm, key_norm) =
        attention.head_norms.as_mut().map_or((None, None), |(q, k)| (Some(q), Some(k)));
    let norms =
        [Some(&mut layer.attention_norm), layer.attention_post_norm.as_mut(), layer.mlp_norm.as_mut()];
    let norms = norms.into_iter().chain([layer.mlp_post_norm.as_mut(), query_norm, key_norm]);
    norms.flatten().for_each(|norm| as_stored_norm(&mut norm.kind));
    let fused = match &mut attention.projection {
        Projection::Fused(all) => Some(all),
        Projection::Separate { .. } => None,
    };
    let plain = match &mut layer.mlp.shape {
        eft_models::spec::MlpShape::Plain(up) => Some(up),
        _ => None,
    };
    let linears = [fused, plain, Some(&mut attention.output), Some(&mut layer.mlp.down)];
    linears.into_iter().flatten().for_each(|linear| linear.layout = Layout::OutIn);
}

fn as_stored_norm(kind: &mut NormKind) {
    if *kind == NormKind::RmsPlusOne {
        *kind = NormKind::Rms;
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf").field("file", &self.path).field("family", &self.spec.family).finish()
    }
}

/// Loads a GGUF file, which is multiplied with as it is. Takes prompts of token ids. Its vocabulary is read from the file, so that
/// models of one family can be added; where that describes none, the model relates to itself only.
///
/// # The file must not change
/// Weights are mapped into memory. The file must not be changed or truncated in place as long as the model exists: that
/// would be undefined behaviour. Replacing it by renaming another file to its name is fine.
///
/// # Errors
/// As [`Gguf::open`] and [`DecoderEngine::load`].
pub fn load_gguf(file: impl AsRef<Path>, candle: &Candle) -> Result<Source<Candle>> {
    let gguf = Gguf::open(file)?;
    let vocab = gguf.vocab().cloned();
    Ok(Source::new(DecoderEngine::load(CandleNn::new(candle.clone()), &gguf, vocab)?))
}
