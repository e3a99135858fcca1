//! [`Checkpoint`]: a folder with `config.json` and files of weights, in Hugging Face's layout.
//!
//! ```
//! use eft_models::Checkpoint;
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert_eq!(checkpoint.spec().family, "llama");
//! assert_eq!(checkpoint.tensor("model.norm.weight", &[32])?.bytes.len(), 32 * 4);
//! # Ok::<(), eft_models::Error>(())
//! ```
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::config::{self, Config};
use crate::quantised::{Part, Quantisation, mxfp4};
use crate::spec::{DecoderSpec, LayerSpec, Layout, LinearSpec};
use crate::tensor_file::{TensorFile, bad_tensor};
use crate::tensors::{Blocks, Dtype, RawTensor};
use crate::{Error, FieldWarning, Result};

/// A model on disk, in Hugging Face's layout.
pub struct Checkpoint {
    name: String,
    folder: PathBuf,
    spec: DecoderSpec,
    files: Vec<TensorFile>,
    /// From a tensor's name to the index of its file.
    tensors: BTreeMap<String, usize>,
    quantisation: Option<Quantisation>,
    dequantised: bool,
    warnings: Vec<FieldWarning>,
}

impl Checkpoint {
    /// Opens a folder: reads its configuration, and maps its files of weights into memory, so that a weight is read
    /// when it is first used.
    ///
    /// These are the safetensors files of the folder, or else those that PyTorch saved: `pytorch_model.bin`, its shards,
    /// or the only file whose name ends in `.pth`. PyTorch's files contain programs, of which only those that describe
    /// tensors are run.
    ///
    /// # The files must not change
    /// The files must not be changed or truncated in place as long as the checkpoint, or an engine loaded from it,
    /// exists: that would be undefined behaviour. Replacing a file by renaming another to its name is fine, and is what
    /// download tools do. Where you cannot vouch for the files, use [`open_in_memory`](Self::open_in_memory).
    ///
    /// # Errors
    /// * [`Error::AdapterFolder`] if the folder holds a PEFT adapter instead of a model.
    /// * [`Error::Io`] if a file is missing or cannot be read.
    /// * [`Error::BadFile`] if a file is not JSON, or is a truncated or corrupt file of weights, or asks PyTorch to do
    ///   something other than to load tensors.
    /// * [`Error::UnknownArchitecture`] if the `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: a safe function cannot exclude that somebody changes the file, so the contract is passed on to the
        // user in the documentation above, as in every loader that calls this. Loading gigabytes of weights by copying
        // them would double the memory and the time that every user pays, to guard against a change that no tool makes.
        Self::with_files(folder.as_ref(), |path| unsafe { TensorFile::map(path) })
    }

    /// Opens a folder as [`open`](Self::open) does, but reads its files of weights into memory at once. The files may
    /// change afterwards.
    ///
    /// # Errors
    /// * [`Error::AdapterFolder`] if the folder holds a PEFT adapter instead of a model.
    /// * [`Error::Io`] if a file is missing or cannot be read.
    /// * [`Error::BadFile`] if a file is not JSON, or is a truncated or corrupt file of weights, or asks PyTorch to do
    ///   something other than to load tensors.
    /// * [`Error::UnknownArchitecture`] if the `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn open_in_memory(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with_files(folder.as_ref(), TensorFile::read)
    }

    fn with_files(folder: &Path, open: impl Fn(PathBuf) -> Result<TensorFile>) -> Result<Self> {
        let config = folder.join("config.json");
        if !config.exists() && folder.join("adapter_config.json").exists() {
            return Err(Error::AdapterFolder { folder: folder.into() });
        }
        let value = config::read(&config)?;
        let fields = Config::new(&config, &value);
        let open_all = || weight_files(folder)?.into_iter().map(&open).collect::<Result<Vec<_>>>();
        // A layer costs memory as soon as it is described, so many of them are compared with the files before.
        let files = match many_layers(&value) {
            Some((field, layers)) => {
                let files = open_all()?;
                let tensors = files.iter().map(|file| file.names().count() as u64).sum::<u64>();
                if tensors < layers {
                    let reason = format!("is {layers}, but the files have only {tensors} tensors");
                    return Err(fields.error(field, reason));
                }
                Some(files)
            }
            None => None,
        };
        let spec = DecoderSpec::from_config(&config, &value)?;
        let quantisation = quantisation(&fields, &spec)?;
        let files = match files {
            Some(files) => files,
            None => open_all()?,
        };
        let mut tensors = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            tensors.extend(file.names().map(|name| (name.to_string(), index)));
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let (folder, dequantised, warnings) = (folder.into(), false, Vec::new());
        let mut checkpoint = Self { name, folder, spec, files, tensors, quantisation, dequantised, warnings };
        checkpoint.untie()?;
        Ok(checkpoint)
    }

    /// Uses the saved output head of a model whose configuration ties the head to the embedding, if the two differ. As
    /// in transformers, the configuration is then taken for wrong: fine-tuned models have been saved so.
    fn untie(&mut self) -> Result<()> {
        let (vocab, hidden) = (self.spec.vocab, self.spec.hidden);
        let embedding = format!("{}.weight", self.spec.embedding);
        if self.spec.head.is_some() || self.find(HEAD).is_none() || self.find(&embedding).is_none() {
            return Ok(());
        }
        let (head, own) = (self.tensor(HEAD, &[vocab, hidden])?, self.tensor(&embedding, &[vocab, hidden])?);
        if (head.dtype, &head.bytes) != (own.dtype, &own.bytes) {
            let finding = format!(
                "is true, but `{HEAD}` is saved and differs from `{embedding}`: the saved head is used"
            );
            self.warnings.push(FieldWarning::new(
                self.folder.join("config.json"),
                "tie_word_embeddings",
                finding,
            ));
            self.spec.head = Some(LinearSpec::new("lm_head".into(), hidden, vocab, false));
        }
        Ok(())
    }

    /// The name under which the files hold a tensor, and the index of its file. If the files have no such name, the name
    /// without its first part is looked up.
    fn find(&self, name: &str) -> Option<(&String, usize)> {
        let short = name.split_once('.').map(|(_, rest)| rest);
        let found = std::iter::once(name).chain(short).find_map(|n| self.tensors.get_key_value(n));
        found.map(|(name, file)| (name, *file))
    }

    /// Returns the fields of the configuration that are wrong, where the model can be loaded nevertheless.
    pub fn warnings(&self) -> &[FieldWarning] {
        &self.warnings
    }

    /// Returns the checkpoint's name: that of its folder, unless [`named`](Self::named) changed it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renames the checkpoint.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Returns the same checkpoint, with weights in MXFP4 dequantised to f32 when they are loaded. Products are then exact
    /// up to the rounding of f32, and take the memory and time of weights in f32.
    ///
    /// Without it, a library that [takes](crate::Nn::takes_blocks) quantised blocks multiplies with these, and may
    /// quantise activations for it, as it does with GGUF files. Weights that are quantised in other ways are always
    /// dequantised.
    ///
    /// ```
    /// use eft_models::{Checkpoint, Weights};
    ///
    /// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/gpt-oss-mxfp4");
    /// let (stored, exact) = (Checkpoint::open(folder)?, Checkpoint::open(folder)?.dequantised());
    /// assert!(Weights::bytes(&stored) < Weights::bytes(&exact));
    /// # Ok::<(), eft_models::Error>(())
    /// ```
    #[must_use]
    pub fn dequantised(self) -> Self {
        Self { dequantised: true, ..self }
    }

    /// Returns the folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the architecture of the model.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Returns the size of all tensors in bytes, in the form in which [`tensor`](Self::tensor) returns them.
    pub fn bytes(&self) -> u64 {
        let stored: u64 = self.files.iter().map(TensorFile::size).sum();
        let linears = self.spec.layers.iter().flat_map(LayerSpec::all_linears);
        let growth = linears.filter_map(|linear| {
            let entries = linear.inputs * linear.outputs;
            if let Layout::Stacked { .. } = linear.layout {
                let grows = self.dequantised && self.find_blocks(&linear.name).is_some();
                return grows.then(|| (Dtype::F32.bytes(entries) - MXFP4.bytes(entries)) as u64);
            }
            let (name, file) = self.find_quantised(&format!("{}.", linear.name))?;
            let stored = self.files[file].stored_bytes(name)?;
            Some((Dtype::F32.bytes(entries) as u64).saturating_sub(stored))
        });
        stored + growth.sum::<u64>()
    }

    /// Returns the tensor of the given name and shape. If the files have no such name, the name without its first
    /// part is looked up (`h.0.ln_1.weight` for `transformer.h.0.ln_1.weight`): some files leave the prefix out. A
    /// quantised weight is returned in F32.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if the tensor is missing, or has another shape, or a type other than F32, F16 and BF16 where
    /// the configuration does not say how it is quantised.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        if let Some(numbers) = self.numbers(name, shape)? {
            return Ok(numbers);
        }
        // A model whose head is tied to its embedding may be saved with the head only.
        let tied = || self.spec.head.is_none() && name.strip_suffix(".weight") == Some(&self.spec.embedding);
        let Some((name, file)) = self.find(name).or_else(|| self.find(HEAD).filter(|_| tied())) else {
            return Err(bad_tensor(&self.folder, name, "is missing".into()));
        };
        self.files[file].tensor(name, shape)
    }

    /// Returns one of the matrices, or vectors, that the tensor of the given name and shape consists of: that of the given
    /// index along the first dimension. A matrix in MXFP4 is returned as quantised blocks, outputs × inputs, where the
    /// shape says inputs × outputs; or in F32 and as the shape says, if the checkpoint is
    /// [dequantised](Self::dequantised).
    ///
    /// # Errors
    /// [`Error::BadTensor`] if the tensor is missing, or has another shape or type.
    ///
    /// # Panics
    /// Panics if the index is not less than the first size.
    pub fn part(&self, name: &str, index: usize, shape: &[usize]) -> Result<RawTensor<'_>> {
        match self.blocks(name, index, shape)? {
            Some(blocks) if self.dequantised => Ok(mxfp4::dequantised(blocks).transposed()),
            Some(blocks) => Ok(blocks),
            None => Ok(self.tensor(name, shape)?.part(index)),
        }
    }

    /// The stored tensor that holds the numbers of stacked matrices in MXFP4, and the index of its file.
    fn find_blocks(&self, name: &str) -> Option<(&String, usize)> {
        self.find(&format!("{name}_blocks"))
            .filter(|_| matches!(self.quantisation, Some(Quantisation::Mxfp4)))
    }

    /// One of the matrices of a tensor in MXFP4, as blocks; `None` if the tensor is not in MXFP4.
    fn blocks(&self, name: &str, index: usize, shape: &[usize]) -> Result<Option<RawTensor<'_>>> {
        let (Some((stored, _)), &[count, inputs, outputs]) = (self.find_blocks(name), shape) else {
            return Ok(None);
        };
        let blocks = mxfp4::blocks([count, inputs, outputs], index, &|part| self.stored(name, part))?;
        let of_blocks = |bytes: Vec<u8>| RawTensor {
            name: stored,
            shape: vec![outputs, inputs],
            dtype: MXFP4,
            bytes: bytes.into(),
        };
        Ok(blocks.map(of_blocks))
    }

    /// One of the stored tensors that make up a quantised weight, of this prefix and suffix.
    fn stored(&self, prefix: &str, suffix: &str) -> Result<Option<Part<'_>>> {
        let Some((name, file)) = self.find(&format!("{prefix}{suffix}")) else { return Ok(None) };
        let file = &self.files[file];
        let part = |tensor| Part { file: file.path(), name: name.clone(), tensor };
        Ok(file.any(name)?.map(part))
    }

    /// The stored tensor that holds the numbers of a quantised weight, and the index of its file. `prefix` is the name
    /// of the layer and a dot.
    fn find_quantised(&self, prefix: &str) -> Option<(&String, usize)> {
        self.quantisation.as_ref()?;
        ["qweight", "weight_packed", "weight"].iter().find_map(|part| self.find(&format!("{prefix}{part}")))
    }

    /// A weight that is quantised, in f32; `None` if it is not.
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Option<RawTensor<'_>>> {
        if let (Some((stored, _)), &[count, ..]) = (self.find_blocks(name), shape) {
            let mut all = Vec::new();
            for index in 0..count {
                let Some(blocks) = self.blocks(name, index, shape)? else { return Ok(None) };
                all.extend_from_slice(&mxfp4::dequantised(blocks).transposed().bytes);
            }
            return Ok(Some(RawTensor {
                name: stored,
                shape: shape.into(),
                dtype: Dtype::F32,
                bytes: all.into(),
            }));
        }
        let (Some(quantisation), Some(prefix), &[outputs, inputs]) =
            (&self.quantisation, name.strip_suffix("weight"), shape)
        else {
            return Ok(None);
        };
        let numbers = quantisation.weight([outputs, inputs], &|part| self.stored(prefix, part))?;
        Ok(numbers
            .zip(self.find_quantised(prefix))
            .map(|(numbers, (name, _))| RawTensor::of_numbers(name, shape, &numbers)))
    }
}

/// The number of layers of a configuration, and the field that gives it, if there are more than in most models, and no
/// more than are allowed.
fn many_layers(value: &Value) -> Option<(&'static str, u64)> {
    let fields = ["num_hidden_layers", "n_layer"].into_iter();
    let mut numbers = fields.filter_map(|field| Some((field, value.get(field)?.as_u64()?)));
    numbers.next().filter(|(_, layers)| (129..=config::MAX_LAYERS as u64).contains(layers))
}

/// Reads how the weights are quantised.
fn quantisation(config: &Config<'_>, spec: &DecoderSpec) -> Result<Option<Quantisation>> {
    let quantisation = Quantisation::read(config)?;
    // These formats store outputs × inputs, or its transpose, whatever the layout of the family is.
    if quantisation.is_some() && spec.linears().iter().any(|linear| linear.layout == Layout::InOut) {
        let reason = format!("is set, which is not supported for the family {}", spec.family);
        return Err(config.error("quantization_config", reason));
    }
    Ok(quantisation)
}

/// The type of weights in MXFP4.
const MXFP4: Dtype = Dtype::Quantised(Blocks::MXFP4);

/// The name of the output head's tensor.
const HEAD: &str = "lm_head.weight";

/// The files of weights that a folder may have, each with the index of its shards.
pub const WEIGHT_FILES: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// The paths of a folder's files of weights.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    for (whole, index) in WEIGHT_FILES.map(|names| (folder.join(names.0), folder.join(names.1))) {
        if index.exists() {
            return shards(&index);
        }
        if whole.exists() {
            return Ok(vec![whole]);
        }
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let saved: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "pth")).collect();
    // Without any, the error names the file that is usual today.
    Ok(if saved.len() == 1 { saved } else { vec![folder.join(WEIGHT_FILES[0].0)] })
}

/// Returns the paths of the files that an index of shards (`model.safetensors.index.json`) names, without repetition.
///
/// # Errors
/// * [`Error::Io`] if the index cannot be read.
/// * [`Error::BadFile`] if it is not such an index, or names a file outside its own folder.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let value = config::read(index)?;
    let wrong = |reason: &str| Error::BadFile { file: index.into(), reason: reason.into() };
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("it has no `weight_map`"))?;
    let mut names = std::collections::BTreeSet::new();
    for name in map.values() {
        let name =
            name.as_str().ok_or_else(|| wrong("its `weight_map` holds a value that is not a string"))?;
        // An index must not make us read files from elsewhere.
        let mut parts = Path::new(name).components();
        let inside = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if !inside || name.contains("..") {
            return Err(wrong(&format!(
                "its `weight_map` points outside its folder: {}",
                config::shortened_text(name)
            )));
        }
        names.insert(name);
    }
    if names.is_empty() {
        return Err(wrong("its `weight_map` is empty"));
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("folder", &self.folder).field("family", &self.spec.family).finish()
    }
}
