//! Flags that the examples share: which models, combined how, and how their texts are drawn.
#![allow(dead_code)] // Not every example draws texts by them.

use clap::{Args, ValueEnum};
use eft::{Decoding, Sampling};

/// Which models, and how they are combined.
#[derive(Args)]
pub(crate) struct ModelFlags {
    /// The large model, untuned: a folder, a GGUF file or an id of the Hugging Face hub
    #[arg(long, value_name = "MODEL", requires = "small", requires = "tuned")]
    pub(crate) large: Option<String>,
    /// The small model, untuned
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) small: Option<String>,
    /// The tuned model, small (or large, with `--mode down`): weights of its own, or an adapter of the untuned one
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) tuned: Option<String>,
    /// What the combination emulates, if there is such a model to compare with
    #[arg(long, value_name = "MODEL", requires = "large")]
    pub(crate) reference: Option<String>,
    /// How they are combined
    #[arg(long, value_enum, default_value = "up")]
    pub(crate) mode: Mode,
    /// The weight of what tuning changed
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) alpha: f32,
    /// The weight of what scale changed, for the modes `amplified` and `filtered`
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) beta: f32,
    /// The mass of the tuned model's nucleus, for the mode `filtered`
    #[arg(long, value_name = "P", default_value_t = 0.9)]
    pub(crate) nucleus: f32,
    /// A system message that the tuned model alone sees: a model under a prompt is a tuned one, too
    #[arg(long, value_name = "TEXT")]
    pub(crate) tuned_system: Option<String>,
    /// What computes; candle, and what `cargo run --features` has switched on
    #[arg(long, value_enum, default_value = "candle")]
    pub(crate) backend: Backend,
    /// Where, by candle or libtorch: `cpu`, `cuda`, `cuda:1`, `metal`
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// In which type, by candle or libtorch; on a processor nothing but f32 is fast by candle
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Dtype,
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
    /// As amplified, inside the nucleus of the tuned model only
    Filtered,
}

/// What computes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Candle,
    /// ONNX Runtime: models are ONNX files, folders with one, or ids of the hub
    #[cfg(feature = "ort")]
    Ort,
    /// libtorch
    #[cfg(feature = "tch")]
    Tch,
}

/// What is computed in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
}

/// How texts are drawn.
#[derive(Args)]
pub(crate) struct DecodingFlags {
    /// Scores are divided by it; 0 takes the likeliest token
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Draw from the so many likeliest tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Draw from the likeliest tokens of this mass
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Draw from tokens at least this fraction as likely as the likeliest
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// One seed, one text
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// A text ends after so many tokens at the latest
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) max_tokens: usize,
}

impl DecodingFlags {
    pub(crate) fn decoding(&self) -> Decoding {
        let Self { temperature, top_k, top_p, min_p, seed, max_tokens } = *self;
        let sampling = Sampling::default().temperature(temperature).top_k(top_k).top_p(top_p).min_p(min_p);
        Decoding::from(sampling.seed(seed)).max_tokens(max_tokens)
    }
}
