//! [`Gguf`]: a GGUF file as a checkpoint. It is memory-mapped, and its weights are multiplied in their quantised form.
//!
//! On a CPU, activations are quantised to 8 bits for products with quantised tensors, so logits differ slightly from
//! those of the dequantised model. [`Gguf::dequantised`] computes the latter, with four bytes of memory for each
//! weight.
//!
//! The decoder is the one that runs all checkpoints: metadata are translated to the configuration of the same family,
//! and differences in the layout of tensors are undone. Supported architectures: llama (Mixtral too), mistral3, smollm3,
//! granite, qwen2, qwen3, qwen3moe, gpt-oss, gemma2, gemma3, phi3, olmo2 (Olmo 3 too), command-r, cohere2, starcoder2,
//! gptneox, falcon, gpt2.
//!
//! ```no_run
//! use eft_backend_candle::{Candle, load_gguf};
//!
//! // Models of one family: their vocabularies are read from the files, and found to be the same.
//! let large = load_gguf("qwen2.5-1.5b-q4_k_m.gguf", &Candle::cpu())?;
//! let tuned = load_gguf("qwen2.5-0.5b-instruct-q4_k_m.gguf", &Candle::cpu())?;
//! let untuned = load_gguf("qwen2.5-0.5b-q4_k_m.gguf", &Candle::cpu())?;
//! let upscaled = &large + (&tuned - &untuned);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod adapter;
mod config;
mod ends;
mod header;
mod kind;
mod metadata;
mod names;
mod split;
mod tensors;
mod texts;
mod tokenizer;
mod types;
mod value;
mod vocab;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::{Source, Vocab};
use eft_models::spec::{FeedForward, LayerSpec, Layout, MlpShape, MlpSpec, NormKind, Projection};
use eft_models::{DecoderEngine, DecoderSpec, Error, FieldWarning, RawTensor, Result, Weights};

use crate::{Candle, CandleNn};
pub use adapter::open_adapter;
pub use kind::{TokenKind, TokenizerKind};
pub use split::{model_name, parts};
use tensors::Tensors;
pub use texts::Texts;
pub use tokenizer::TokenizerFields;

/// An open GGUF file. Its header is in memory, and its tensors are memory-mapped. Of a model that is split into several
/// files, such as `model-00001-of-00003.gguf`, any of them names all of them: see [`parts`].
///
/// Give it to [`DecoderEngine::load`] to run it with other settings than [`load_gguf`].
///
/// ```no_run
/// use eft_backend_candle::{Candle, CandleNn, Gguf};
/// use eft_core::Source;
/// use eft_models::{DecoderEngine, Weights};
///
/// let file = Gguf::open("smollm2-135m-instruct-q4_k_m.gguf")?.dequantised().named("smol");
/// println!("{} in {} bytes", file.spec().family, file.bytes());
/// let nn = CandleNn::new(Candle::cpu());
/// let model = Source::new(DecoderEngine::load(nn, &file, file.vocab().cloned())?);
/// # Ok::<(), eft_models::Error>(())
/// ```
pub struct Gguf {
    path: PathBuf,
    name: String,
    spec: DecoderSpec,
    tokenizer: Option<TokenizerFields>,
    vocab: Option<Arc<Vocab>>,
    tensors: Tensors,
    /// Whether rows of queries and keys are in the order of the original Llama.
    interleaved: bool,
    dequantised: bool,
    warnings: Vec<FieldWarning>,
}

impl Gguf {
    /// Opens a file: reads its header, and maps its tensors into memory, so that a weight is read when it is first
    /// used.
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
    /// * [`Error::BadTensor`] if a tensor lies past the end of the file, or has an unsupported type or shape.
    /// * [`Error::Core`] if the tokens of the file do not form a vocabulary.
    pub fn open(file: impl AsRef<Path>) -> Result<Self> {
        Self::read(file.as_ref().into(), true)
    }

    /// Opens a file as [`open`](Self::open) does, but reads all of it into memory at once. It may change afterwards.
    ///
    /// # Errors
    /// * [`Error::Io`] if the file cannot be read.
    /// * [`Error::BadFile`] if the header contradicts itself or the file's length.
    /// * [`Error::UnknownArchitecture`] if the architecture is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    /// * [`Error::BadTensor`] if a tensor lies past the end of the file, or has an unsupported type or shape.
    /// * [`Error::Core`] if the tokens of the file do not form a vocabulary.
    pub fn open_in_memory(file: impl AsRef<Path>) -> Result<Self> {
        Self::read(file.as_ref().into(), false)
    }

    fn read(path: PathBuf, mapped: bool) -> Result<Self> {
        let (mut metadata, tensors) = split::read(&path, mapped)?;
        let (mut spec, architecture) = config::spec(&metadata, &tensors)?;
        spec.layers.iter_mut().for_each(as_stored);
        as_stored_norm(&mut spec.final_norm.kind);
        let name = model_name(&path);
        let tokenizer = TokenizerFields::read(&mut metadata)?;
        let vocab = tokenizer.as_ref().map(|fields| vocab::read(fields, &name, &spec));
        let vocab = vocab.transpose()?.map(Arc::new);
        let interleaved = architecture.interleaved;
        let warnings = metadata.warnings;
        Ok(Self { path, name, spec, tokenizer, vocab, tensors, interleaved, dequantised: false, warnings })
    }

    /// Returns the same file, with its tensors dequantised to f32 when they are loaded. Products are then exact up to
    /// the rounding of f32, and take the memory and time of a model in f32.
    #[must_use]
    pub fn dequantised(self) -> Self {
        Self { dequantised: true, ..self }
    }

    /// Returns the vocabulary that the file describes; `None` if it has none, or one of an unsupported tokenizer.
    pub fn vocab(&self) -> Option<&Arc<Vocab>> {
        self.vocab.as_ref()
    }

    /// Returns the fields that describe the file's tokenizer; `None` if it has none, or an unsupported one.
    pub fn tokenizer(&self) -> Option<&TokenizerFields> {
        self.tokenizer.as_ref()
    }

    /// Returns the fields that are missing or invalid, where the file can be used nevertheless.
    pub fn warnings(&self) -> &[FieldWarning] {
        &self.warnings
    }

    /// Returns the same file under another name, which messages and formulas of combined models use. By default, it is
    /// the file's name without `.gguf`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
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
        let (raw, paired) = self.linear(name, shape)?;
        Ok(match paired {
            Some(head) => raw.unpaired(head),
            None => raw,
        })
    }

    fn linear(&self, name: &str, shape: &[usize]) -> Result<(RawTensor<'_>, Option<usize>)> {
        let Some(stored) = names::stored(name, &self.spec) else {
            let reason = "has no name in GGUF files".into();
            return Err(Error::BadTensor { file: self.path.clone(), tensor: name.into(), reason });
        };
        let raw = self.tensors.read_at(&stored, shape, self.dequantised)?;
        let heads = if self.interleaved { names::interleaved_heads(name, &self.spec) } else { None };
        Ok((raw, heads.map(|heads| shape[0] / heads)))
    }
}

/// Adapts a layer's spec to how GGUF files store tensors: matrices always have a row for each output, and 1 is already
/// added to the weights of Gemma's norms.
fn as_stored(layer: &mut LayerSpec) {
    let attention = &mut layer.attention;
    let (query_norm, key_norm) =
        attention.head_norms.as_mut().map_or((None, None), |(q, k)| (Some(q), Some(k)));
    let norms = [layer.attention_norm.as_mut(), layer.attention_post_norm.as_mut(), layer.mlp_norm.as_mut()];
    let norms = norms.into_iter().chain([layer.mlp_post_norm.as_mut(), query_norm, key_norm]);
    norms.flatten().for_each(|norm| as_stored_norm(&mut norm.kind));
    let fused = match &mut attention.projection {
        Projection::Fused(all) => Some(all),
        Projection::Separate { .. } => None,
    };
    let (plain, down) = match &mut layer.feed_forward {
        FeedForward::Dense(mlp) => match &mut mlp.shape {
            MlpShape::Plain(up) => (Some(up), Some(&mut mlp.down)),
            MlpShape::Gated { .. } | MlpShape::FusedGated(_) => (None, Some(&mut mlp.down)),
        },
        FeedForward::Experts(mixture) => {
            mixture.experts.iter_mut().for_each(as_stored_expert);
            (None, None)
        }
    };
    let linears = [fused, plain, Some(&mut attention.output), down];
    linears.into_iter().flatten().for_each(|linear| linear.layout = Layout::OutIn);
}

/// Adapts an expert of gpt-oss: files hold the two layers that read its input apart, with a row for each output.
fn as_stored_expert(expert: &mut MlpSpec) {
    let MlpShape::Gated { gate, up } = &mut expert.shape else { return };
    for (linear, part) in [(gate, "gate_proj"), (up, "up_proj"), (&mut expert.down, "down_proj")] {
        if let Layout::Stacked { index, .. } = linear.layout
            && let Some((experts, _)) = linear.name.rsplit_once('.')
        {
            linear.name = format!("{experts}.{index}.{part}");
            linear.layout = Layout::OutIn;
        }
    }
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

/// Loads a GGUF file as a source whose prompts are token ids. Weights are multiplied in their quantised form.
///
/// The vocabulary is read from the file, so models of one family can be combined. If the file describes no vocabulary,
/// the model can be combined only with itself.
///
/// ```no_run
/// use eft_backend_candle::{Candle, load_gguf};
/// use eft_core::Sampling;
///
/// let model = load_gguf("qwen2.5-0.5b-q4_k_m.gguf", &Candle::cpu())?;
/// for token in model.generate([785, 6722, 315], Sampling::greedy())?.take(8) {
///     println!("{}", token?.id);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The file must not change
/// Weights are mapped into memory. The file must not be changed or truncated in place as long as the model exists: that
/// would be undefined behaviour. Replacing it by renaming another file to its name is fine.
///
/// # Errors
/// * [`Error::Io`] if the file cannot be read.
/// * [`Error::BadFile`] if the header contradicts itself or the file's length.
/// * [`Error::UnknownArchitecture`] if the architecture is not supported.
/// * [`Error::Config`] if a field is missing or has an unsupported value.
/// * [`Error::BadTensor`] if a tensor is missing, lies past the end of the file, or has an unexpected type or shape.
/// * [`Error::Core`] if the tokens of the file do not form a vocabulary, or if candle fails.
pub fn load_gguf(file: impl AsRef<Path>, candle: &Candle) -> Result<Source<Candle>> {
    let gguf = Gguf::open(file)?;
    let vocab = gguf.vocab().cloned();
    Ok(Source::new(DecoderEngine::load(CandleNn::new(candle.clone()), &gguf, vocab)?))
}
