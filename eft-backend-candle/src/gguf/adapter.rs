//! [`open_adapter`]: LoRA adapters in GGUF files, as llama.cpp reads them.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eft_models::adapter::{AdapterWeights, BaseWeight, StoredChange, StoredLowRank};
use eft_models::spec::LinearSpec;
use eft_models::{Adapter, DecoderSpec, Dtype, Error, RawTensor, Result};

use super::config::Architecture;
use super::metadata::Metadata;
use super::tensors::Tensors;
use super::{names, split};

const KIND: &str = "general.type";
const ARCHITECTURE: &str = "general.architecture";
const METHOD: &str = "adapter.type";
const ALPHA: &str = "adapter.lora.alpha";
const INVOCATION: &str = "adapter.alora.invocation_tokens";

/// Opens a LoRA adapter in a GGUF file, with `general.type = "adapter"`, as llama.cpp's `convert_lora_to_gguf.py` writes it.
/// It can be used over a GGUF file and over a checkpoint of any other format. The adapter is named after the file; all of
/// it is read into memory.
///
/// The change of a weight is `alpha / rank · B·A`, where the rank is that of its matrices; without `adapter.lora.alpha`, or
/// if that is 0, it is `B·A`. The adapter may change the linear layers that every token uses, the output head, and the
/// embedding.
///
/// ```no_run
/// use eft_backend_candle::gguf::open_adapter;
/// use eft_backend_candle::{Candle, CandleNn, Gguf};
/// use eft_core::Source;
/// use eft_models::DecoderEngine;
///
/// let (base, pirate) = (Gguf::open("smollm2-135m-q8_0.gguf")?, open_adapter("pirate-f16.gguf")?);
/// let nn = CandleNn::new(Candle::cpu());
/// let base = Source::new(DecoderEngine::with_adapters(nn, &base, &[pirate], base.vocab().cloned())?);
/// let tuned = base.adapter("pirate-f16")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// * [`Error::Io`] if the file cannot be read.
/// * [`Error::BadFile`] if the header contradicts itself or the file's length.
/// * [`Error::Config`] if the file is not a LoRA adapter, or a field is invalid.
/// * [`Error::BadTensor`] if a tensor lies past the end of the file, or has an unsupported type.
///
/// A tensor that belongs to no module of the base is found when a model is loaded with the adapter.
pub fn open_adapter(file: impl AsRef<Path>) -> Result<Adapter> {
    let file = file.as_ref();
    let (metadata, tensors) = split::read(file, false)?;
    for (field, expected) in [(KIND, "adapter"), (METHOD, "lora")] {
        let found = metadata.required_text(field)?;
        if found != expected {
            return Err(metadata.wrong(field, format!("is `{found}`; an adapter has `{expected}`")));
        }
    }
    if metadata.list(INVOCATION)?.is_some_and(|tokens| tokens.len() > 0) {
        return Err(metadata.wrong(INVOCATION, "is set, which is not supported"));
    }
    let adapter = GgufAdapter {
        architecture: metadata.required_text(ARCHITECTURE)?.to_owned(),
        alpha: metadata.number(ALPHA)?.unwrap_or(0.0),
        path: file.into(),
        metadata,
        tensors,
    };
    Ok(Adapter::new(split::model_name(file), adapter))
}

struct GgufAdapter {
    path: PathBuf,
    metadata: Metadata,
    architecture: String,
    alpha: f64,
    tensors: Tensors,
}

impl GgufAdapter {
    /// The matrices A and B of a weight, by the weight's name, and the factor of their product; `None` if the adapter
    /// leaves it alone. `shapes` are the shapes of A and B, given the rank.
    fn pair(
        &self,
        weight: &str,
        rank_of: impl Fn(&[usize]) -> Option<usize>,
        shapes: impl Fn(usize) -> [[usize; 2]; 2],
    ) -> Result<Option<([RawTensor<'_>; 2], f32)>> {
        let [a, b] = ["lora_a", "lora_b"].map(|part| format!("{weight}.{part}"));
        let first = match (self.tensors.shape(&a), self.tensors.shape(&b)) {
            (None, None) => return Ok(None),
            (Some(first), Some(_)) => first,
            (None, Some(_)) => return Err(self.error(&a, format!("is missing, although `{b}` is there"))),
            (Some(_), None) => return Err(self.error(&b, format!("is missing, although `{a}` is there"))),
        };
        let Some(rank) = rank_of(first).filter(|rank| *rank > 0) else {
            return Err(self.error(&a, format!("has shape {first:?}; expected a matrix")));
        };
        let [of_a, of_b] = shapes(rank);
        let pair = [self.tensors.read(&a, &of_a, true)?, self.tensors.read(&b, &of_b, true)?];
        let scale = if self.alpha == 0.0 { 1.0 } else { self.alpha / rank as f64 };
        Ok(Some((pair, scale as f32)))
    }
}

impl AdapterWeights for GgufAdapter {
    fn check(&self, base: &DecoderSpec) -> Result<()> {
        let family = base.family.as_str();
        let expected = Architecture::of_family(family).map_or(family, |architecture| architecture.name);
        if self.architecture != expected {
            let reason = format!("is `{}`; the base model is `{expected}`", self.architecture);
            return Err(self.metadata.wrong(ARCHITECTURE, reason));
        }
        let head = base.output_head();
        let linears = base.linears().into_iter().chain([&head]).map(|linear| linear.name.as_str());
        let weights: BTreeSet<_> =
            linears.chain([base.embedding.as_str()]).filter_map(|name| weight(name, base)).collect();
        let belongs = |tensor: &str| {
            let weight = tensor.strip_suffix(".lora_a").or_else(|| tensor.strip_suffix(".lora_b"));
            weight.is_some_and(|weight| weights.contains(weight))
        };
        match self.tensors.names().find(|tensor| !belongs(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                let reason = "belongs to no weight of the base model that can be changed";
                Err(self.error(tensor, reason.into()))
            }
        }
    }

    fn linear<'a>(
        &'a self,
        base: &DecoderSpec,
        linear: &LinearSpec,
        _: &BaseWeight<'_>,
    ) -> Result<Option<StoredChange<'a>>> {
        let Some(weight) = weight(&linear.name, base) else { return Ok(None) };
        let rank_of = |shape: &[usize]| (shape.len() == 2).then(|| shape[0]);
        let shapes = |rank| [[rank, linear.inputs], [linear.outputs, rank]];
        let Some(([down, up], scale)) = self.pair(&weight, rank_of, shapes)? else { return Ok(None) };
        let architecture =
            Architecture::of_family(&base.family).filter(|architecture| architecture.interleaved);
        let heads = architecture.and_then(|_| names::interleaved_heads(&linear.name, base));
        let up = match heads {
            Some(heads) => up.unpaired(linear.outputs / heads),
            None => up,
        };
        Ok(Some(StoredChange::LowRank(StoredLowRank::new(down, up, scale))))
    }

    fn embedding<'a>(&'a self, base: &DecoderSpec, _: &BaseWeight<'_>) -> Result<Option<StoredChange<'a>>> {
        let Some(weight) = weight(&base.embedding, base) else { return Ok(None) };
        // Here, the matrix A has a row for each token, which is looked up.
        let rank_of = |shape: &[usize]| (shape.len() == 2).then(|| shape[1]);
        let shapes = |rank| [[base.vocab, rank], [base.hidden, rank]];
        let Some(([down, up], scale)) = self.pair(&weight, rank_of, shapes)? else { return Ok(None) };
        let change = StoredLowRank::new(transposed(down), up, scale);
        Ok(Some(StoredChange::LowRank(change)))
    }

    fn error(&self, tensor: &str, reason: String) -> Error {
        Error::BadTensor { file: self.path.clone(), tensor: tensor.into(), reason }
    }
}

/// The name in GGUF files of a module's weight; `None` if it has none, or if it is part of a tensor of all experts.
fn weight(module: &str, base: &DecoderSpec) -> Option<String> {
    let place = names::stored(&format!("{module}.weight"), base)?;
    place.expert.is_none().then_some(place.name)
}

/// A matrix of f32 with rows and columns exchanged.
fn transposed(raw: RawTensor<'_>) -> RawTensor<'_> {
    debug_assert_eq!(raw.dtype, Dtype::F32, "adapters are dequantised");
    let (rows, columns) = (raw.shape[0], raw.shape[1]);
    let entries = raw.bytes.as_chunks::<4>().0;
    let column = |column: usize| entries.iter().skip(column).step_by(columns);
    let bytes: Vec<u8> = (0..columns).flat_map(column).flatten().copied().collect();
    RawTensor { shape: vec![columns, rows], bytes: bytes.into(), ..raw }
}
