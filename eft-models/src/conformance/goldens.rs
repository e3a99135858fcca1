//! The tiny checkpoints, and the results of transformers for them.
use std::path::{Path, PathBuf};

use eft_core::decode::Batch;
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Evaluator, Prompt, Sampling, Source, TokenId};
use safetensors::SafeTensors;

use super::{TOLERANCE, Verdict, require};
use crate::{Adapter, Checkpoint, DecoderEngine, Nn};

/// The folders of all tiny checkpoints.
pub const FAMILIES: [&str; 35] = [
    "llama",
    "llama3",
    "llama-linear",
    "llama-yarn",
    "llama-untied",
    "llama-partial",
    "llama-dynamic",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "gpt2",
    "falcon",
    "falcon-new",
    "phi3",
    "phi3-long",
    "ministral",
    "mixtral",
    "qwen3-moe",
    "smollm3",
    "granite",
    "olmo2",
    "olmo3",
    "phi4",
    "cohere",
    "cohere2",
    "starcoder2",
    "gpt-neox",
    "gpt-neox-serial",
    "opt",
    "llama4",
    "gpt-oss",
    "phi3-past",
    "llama-dynamic-past",
];

/// Copies of checkpoints in other formats, most of them quantised: the folder of each, and that of the original.
pub(super) const FORMATS: [(&str, &str); 14] = [
    ("qwen2-torch", "qwen2"),
    ("qwen2-gptq", "qwen2"),
    ("qwen2-gptq-v2", "qwen2"),
    ("qwen2-awq", "qwen2"),
    ("qwen2-fp8", "qwen2"),
    ("qwen2-compressed-fp8", "qwen2"),
    ("qwen2-compressed-int8", "qwen2"),
    ("qwen2-compressed-int4", "qwen2"),
    ("qwen2-compressed-mxfp4", "qwen2"),
    ("qwen2-compressed-nvfp4", "qwen2"),
    ("qwen2-bnb-nf4", "qwen2"),
    ("qwen2-bnb-fp4", "qwen2"),
    ("qwen2-bnb-int8", "qwen2"),
    ("gpt-oss-mxfp4", "gpt-oss"),
];

/// Sums of adapters: their folders, and the adapters with their weights.
const SUMS: [(&str, &[(&str, f32)]); 3] = [
    ("qwen2-sum", &[("qwen2-lora", 0.7), ("qwen2-rslora", -0.4)]),
    ("qwen2-outer-sum", &[("qwen2-outer-lora", 0.5), ("qwen2-lora", 1.5), ("qwen2-layers-rslora", 1.0)]),
    ("falcon-new-sum", &[("falcon-new-lora", 0.6), ("falcon-new-biased-lora", 0.8)]),
];

/// The largest difference between the logits of a checkpoint or adapter and those of transformers or PEFT.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The checkpoint or adapter.
    pub name: String,
    /// The largest absolute difference of a logit, over all positions of all prompts.
    pub logits: f32,
}

/// A checkpoint or adapter with its reference results.
#[derive(Debug, Clone)]
pub struct Golden {
    folder: PathBuf,
    /// Prompts, in token ids.
    pub prompts: Vec<Vec<TokenId>>,
    /// The 32 tokens that greedy decoding by transformers appends to each prompt.
    pub greedy: Vec<Vec<TokenId>>,
}

impl Golden {
    /// Reads the golden of a family, by the name of its folder.
    ///
    /// # Errors
    /// Returns an error if a file is missing or cannot be parsed.
    pub fn family(name: &str) -> Verdict<Self> {
        let folder = folder(name);
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json"))?)?;
        let lists = |name: &str| serde_json::from_value(json[name].clone());
        Ok(Self { prompts: lists("prompts")?, greedy: lists("greedy")?, folder })
    }

    /// Reads the golden of an adapter or a quantised copy, over the prompts of its base. It has no greedy texts.
    ///
    /// # Errors
    /// Returns an error if a file is missing or cannot be parsed.
    pub fn variant(name: &str, base: &str) -> Verdict<Self> {
        Ok(Self { folder: folder(name), greedy: Vec::new(), ..Self::family(base)? })
    }

    /// Returns the folder of the checkpoint or adapter.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Compares a model's logits at every position, and returns the largest difference.
    ///
    /// # Errors
    /// Returns an error if the model fails, or a logit is not finite or differs by more than [`TOLERANCE`].
    pub fn check_logits<B: Backend>(&self, source: &Source<B>) -> Verdict<Difference> {
        self.check_logits_within(source, TOLERANCE)
    }

    /// Compares a model's logits as [`check_logits`](Self::check_logits) does, with another tolerance.
    pub(super) fn check_logits_within<B: Backend>(
        &self,
        source: &Source<B>,
        tolerance: f32,
    ) -> Verdict<Difference> {
        let bytes = std::fs::read(self.folder.join("golden.safetensors"))?;
        let goldens = SafeTensors::deserialize(&bytes)?;
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut worst = 0.0f32;
        for (i, prompt) in self.prompts.iter().enumerate() {
            let golden = goldens.tensor(&format!("logits.{i}"))?;
            let expected = golden.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            // The first token is the prompt and all others follow it, so every position is scored.
            let mut evaluator = Evaluator::open(&[source], &[Prompt::from(&prompt[..1])])?;
            evaluator.push(&[prompt[1..].to_vec()])?;
            let scores = evaluator.eval_from(0, &[0])?;
            let got = source.backend().download(&scores.positions(0), scores.width())?;
            let sound = got.len() == expected.len() && got.iter().all(|x| x.is_finite());
            require(sound, || format!("{name}: {} logits, not all of them finite", got.len()))?;
            worst = got.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        require(worst <= tolerance, || format!("{name}: a logit differs by {worst}"))?;
        Ok(Difference { name, logits: worst })
    }

    /// Checks that a model generates the greedy texts of transformers.
    ///
    /// # Errors
    /// Returns an error if the model fails or generates something else.
    pub fn check_greedy<B: Backend>(&self, source: &Source<B>) -> Verdict<()> {
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(32);
        let got = texts(source.generate_batch(self.prompts.clone(), decoding)?, self.prompts.len())?;
        require(got == self.greedy, || format!("{source} generates {got:?}, not {:?}", self.greedy))
    }
}

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", name].iter().collect()
}

/// An adapter, or one of the [sums](SUMS).
fn adapter(name: &str) -> crate::Result<Adapter> {
    let Some((_, parts)) = SUMS.iter().find(|(sum, _)| *sum == name) else {
        return Adapter::open(folder(name));
    };
    let open = |(name, weight): &(&str, f32)| Ok((Adapter::open(folder(name))?, *weight));
    Ok(Adapter::sum(name, parts.iter().map(open).collect::<crate::Result<Vec<_>>>()?))
}

/// The engine of a family, with adapters.
pub(super) fn engine<N: Nn>(nn: &N, family: &str, adapters: &[&str]) -> crate::Result<DecoderEngine<N>> {
    let adapters = adapters.iter().map(|name| adapter(name)).collect::<crate::Result<Vec<_>>>()?;
    let checkpoint = Checkpoint::open(folder(family))?.dequantised();
    DecoderEngine::with_adapters(nn.clone(), &checkpoint, &adapters, None)
}

/// The model of a checkpoint whose weights stay quantised blocks if the library multiplies with such.
pub(super) fn blocks_model<N: Nn>(nn: &N, name: &str) -> crate::Result<Source<N::Backend>> {
    let checkpoint = Checkpoint::open(folder(name))?;
    Ok(Source::new(DecoderEngine::load(nn.clone(), &checkpoint, None)?))
}

/// The model of a family, with adapters.
pub(super) fn model<N: Nn>(nn: &N, family: &str, adapters: &[&str]) -> crate::Result<Source<N::Backend>> {
    Ok(Source::new(engine(nn, family, adapters)?))
}

/// Runs a batch to its end, and returns the tokens of each row.
pub(super) fn texts<B: Backend>(batch: Batch<B>, rows: usize) -> eft_core::Result<Vec<Vec<TokenId>>> {
    let mut texts = vec![Vec::new(); rows];
    for event in batch {
        if let Event::Token { row, token } = event? {
            texts[row].push(token.id);
        }
    }
    Ok(texts)
}
