//! Flags that the examples share: the models, how they are combined, and how their texts are sampled.
#![allow(dead_code)] // Not every example has all of them.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use eft::backend::DeviceName;
use eft::candle::{CacheType, WeightType};
use eft::{Decoding, Sampling};

/// The models, and how they are combined.
#[derive(Args)]
pub(crate) struct ModelFlags {
    /// The large model, untuned: a folder, a GGUF file, an id on the Hugging Face hub, or with the feature `remote` the url
    /// of a server that runs it, as in http://host:8000/v1#name; it then has the tokenizer of the small one
    #[arg(long, value_name = "MODEL", requires = "small", requires = "tuned")]
    pub(crate) large: Option<String>,
    /// The small model, untuned
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) small: Option<String>,
    /// The tuned model: small (large with `--mode down`), as a model of its own or a LoRA adapter of the untuned one
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) tuned: Option<String>,
    /// The model that the combination emulates, to compare with
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) reference: Option<String>,
    /// How the models are combined
    #[arg(long, value_enum, default_value = "up")]
    pub(crate) mode: Mode,
    /// The weight of the difference that tuning makes, with the modes `up` and `down`; by default 1
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) alpha: Option<f32>,
    /// The weight of the difference that scale makes, with the modes `amplified` and `filtered`; by default 1
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) beta: Option<f32>,
    /// The probability mass of the tuned model's nucleus, with the mode `filtered`; by default 0.9
    #[arg(long, value_name = "P")]
    pub(crate) nucleus: Option<f32>,
    /// The combination as a formula of the models `large`, `small` and `tuned`, such as `large + 0.7*(tuned - small)` or
    /// `nucleus_delta(tuned, large, small, p=0.9)`: see the module `eft::formula`
    #[arg(long, value_name = "FORMULA", conflicts_with_all = ["mode", "alpha", "beta", "nucleus"])]
    pub(crate) formula: Option<String>,
    /// One more model for the formula, as its name and the model or a LoRA adapter of the small one; can be repeated
    #[arg(long = "model", value_name = "NAME=MODEL", requires = "formula", value_parser = named_model)]
    pub(crate) others: Vec<(String, String)>,
    /// A system message for the tuned model only, which can stand in for tuning
    #[arg(long, value_name = "TEXT")]
    pub(crate) tuned_system: Option<String>,
    /// Combine the models over bytes. Without this flag, that is done only if their tokenizers differ
    #[arg(long)]
    pub(crate) bytes: bool,
    /// Over bytes, leave out what has at most this share of the probability. That is several times as fast, but sums of
    /// models that leave out anything may write nonsense
    #[arg(long, value_name = "P", conflicts_with = "map_tokens")]
    pub(crate) prune: Option<f64>,
    /// Over bytes, sum over all token sequences of a text where it is not known which one a model's tokenizer writes, as with
    /// SentencePiece; but not over those with less than this share of its probability, such as 0.01
    #[arg(long, value_name = "P", conflicts_with = "map_tokens")]
    pub(crate) covering: Option<f64>,
    /// Combine models with different tokenizers on the tokens that the large model's vocabulary also has, instead of over
    /// bytes: faster, but tokens that only one of them has are lost
    #[arg(long, conflicts_with = "bytes")]
    pub(crate) map_tokens: bool,
    /// The library that runs the models; `ort` and `tch` need the feature of that name
    #[arg(long, value_enum, default_value = "candle")]
    pub(crate) backend: Backend,
    /// The device: `cpu`, `cuda`, `cuda:1`, `metal`; ONNX Runtime has no `metal`
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// The type of numbers, with candle or libtorch; candle on the processor is fast with f32 only
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Dtype,
    /// The type in which candle keeps keys and values: `f32` (that is, as the model computes), `f16`, or `q8_0` on the processor
    /// with f32. With a smaller one, decoding after a long context takes less memory and often less time, and rounds
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) cache_type: CacheType,
    /// The type that candle quantises the weights of all models to while it loads them: `stored` (that is, as in the files), `q8_0`,
    /// `q5_0` or `q4_0`. With fewer bits than the files have, models take less memory and time. Scores hardly change with `q8_0`,
    /// and texts do with `q4_0`
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) weight_type: WeightType,
    /// The same for a copy of the tuned model that drafts.
    #[arg(skip)]
    pub(crate) draft_weight_type: Option<WeightType>,
    /// Print the settings of generation that the models' files recommend
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// The zoo's large model, where none is named.
    #[arg(skip = "base-large")]
    pub(crate) zoo_large: &'static str,
}

impl ModelFlags {
    /// Refuses flags that have no part in the mode.
    pub(crate) fn check(&self) -> Result<()> {
        let (up_or_down, filtered) =
            (matches!(self.mode, Mode::Up | Mode::Down), self.mode == Mode::Filtered);
        for (flag, given, used, modes) in [
            ("alpha", self.alpha.is_some(), up_or_down, "`up` or `down`"),
            ("beta", self.beta.is_some(), !up_or_down, "`amplified` or `filtered`"),
            ("nucleus", self.nucleus.is_some(), filtered, "`filtered`"),
        ] {
            if given && !used {
                let mode = self.mode.to_possible_value();
                let mode = mode.as_ref().map_or("", |mode| mode.get_name());
                bail!("`--{flag}` has no part in the mode `{mode}`: it needs `--mode` {modes}");
            }
        }
        Ok(())
    }

    /// Refuses flags that have no part in an example.
    pub(crate) fn refuse(&self, unused: &[&str]) -> Result<()> {
        let given = [
            ("alpha", self.alpha.is_some()),
            ("beta", self.beta.is_some()),
            ("nucleus", self.nucleus.is_some()),
            ("formula", self.formula.is_some()),
            ("reference", self.reference.is_some()),
        ];
        match given.iter().find(|(flag, given)| *given && unused.contains(flag)) {
            Some((flag, _)) => bail!("`--{flag}` has no part in this example"),
            None => Ok(()),
        }
    }
}

/// Refuses a question without text.
pub(crate) fn check_question(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        bail!("the question is empty");
    }
    Ok(())
}

fn named_model(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => Ok((name.into(), model.into())),
        _ => Err("expected a name, `=` and a model".into()),
    }
}

/// How the models are combined.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// large + α·(tuned − small): the large model, tuned as the small one was
    Up,
    /// small + α·(tuned − large): the small model, tuned as the large one was
    Down,
    /// tuned + β·(large − small): the tuned small model, with the knowledge of the large one
    Amplified,
    /// The same as amplified, but only for tokens in the nucleus of the tuned model
    Filtered,
}

/// The library that runs the models.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Candle,
    /// ONNX Runtime; models are ONNX files, folders that have one, or ids on the hub
    Ort,
    /// libtorch
    Tch,
}

/// The type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
}

/// How texts are sampled.
#[derive(Args)]
pub(crate) struct DecodingFlags {
    /// The sampling temperature; 0, the default, always takes the likeliest token, and the next four flags change nothing
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Sample from the K likeliest tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Sample from the likeliest tokens whose probabilities add up to P
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Sample from tokens that are at least P times as likely as the likeliest
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// The random seed: the same seed gives the same text
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The maximum number of tokens of a text, by default 128
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
}

impl DecodingFlags {
    /// The flags as decoding settings.
    pub(crate) fn decoding(&self) -> Decoding {
        self.over(Decoding::from(Sampling::greedy()).max_tokens(128))
    }

    /// These settings, and the flags that are given instead of theirs.
    pub(crate) fn over(&self, settings: Decoding) -> Decoding {
        let mut sampling = settings.sampling.seed(self.seed);
        if let Some(temperature) = self.temperature {
            sampling = sampling.temperature(temperature);
        }
        sampling = sampling.top_k(self.top_k.or(sampling.top_k));
        sampling = sampling.top_p(self.top_p.or(sampling.top_p)).min_p(self.min_p.or(sampling.min_p));
        let max_tokens = self.max_tokens.or(settings.max_tokens);
        let decoding = settings.sampling(sampling);
        match max_tokens {
            Some(tokens) => decoding.max_tokens(tokens),
            None => decoding.unlimited(),
        }
    }
}
