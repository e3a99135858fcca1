//! The decoder families: one function each, from a Hugging Face configuration to a [`DecoderSpec`], tensor names
//! included.
//!
//! To add a family, write such a function in a new file and add it to [`FAMILIES`] under its `model_type`.
mod cohere;
mod experts;
mod falcon;
mod gemma;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod granite;
mod llama;
mod llama4;
mod olmo;
mod opt;
mod phi3;
mod sizes;
mod starcoder2;

use std::path::Path;

use crate::config::{self, Config};
use crate::rope::Rope;
use crate::spec::DecoderSpec;
use crate::{Error, Result};

type ReadSpec = fn(&Config<'_>) -> Result<DecoderSpec>;

/// Every supported family, by the `model_type` of its configuration.
const FAMILIES: [(&str, ReadSpec); 23] = [
    ("llama", llama::llama),
    ("mistral", llama::mistral),
    ("ministral", llama::ministral),
    ("mixtral", experts::mixtral),
    ("qwen2", llama::qwen2),
    ("qwen3", llama::qwen3),
    ("qwen3_moe", experts::qwen3_moe),
    ("smollm3", llama::smollm3),
    ("llama4_text", llama4::llama4),
    ("gpt_oss", gpt_oss::gpt_oss),
    ("granite", granite::granite),
    ("olmo2", olmo::olmo2),
    ("olmo3", olmo::olmo3),
    ("phi3", phi3::phi3),
    ("gemma2", gemma::gemma2),
    ("gemma3_text", gemma::gemma3),
    ("cohere", cohere::cohere),
    ("cohere2", cohere::cohere2),
    ("starcoder2", starcoder2::starcoder2),
    ("gpt2", gpt2::gpt2),
    ("gpt_neox", gpt_neox::gpt_neox),
    ("opt", opt::opt),
    ("falcon", falcon::falcon),
];

/// Families that a [`DecoderSpec`] cannot describe, and why.
const REFUSED: [(&str, &str); 2] = [("gemma3n_text", GEMMA_3N), ("gemma3n", GEMMA_3N)];

const GEMMA_3N: &str = "its layers read and write four residual streams, which they mix with factors that depend on the \
                        token (AltUp), add an embedding of their own to them, and share the keys and values of other \
                        layers, while a layer of a decoder here has one stream and a cache of its own";

impl DecoderSpec {
    /// Reads a `config.json` in Hugging Face's format.
    ///
    /// # Errors
    /// * [`Error::Io`] if the file cannot be read.
    /// * [`Error::BadFile`] if it is not JSON.
    /// * [`Error::UnknownArchitecture`] if its `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn read(file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        Self::from_config(file, &config::read(file)?)
    }

    /// Reads a configuration that is already parsed. `file` only serves to name the configuration in errors.
    ///
    /// # Errors
    /// * [`Error::UnknownArchitecture`] if its `model_type` is not supported.
    /// * [`Error::Config`] if a field is missing or has an unsupported value.
    pub fn from_config(file: impl AsRef<Path>, value: &serde_json::Value) -> Result<Self> {
        let file = file.as_ref();
        let config = Config::new(file, value);
        const FAMILY: &str = "model_type";
        let family = config.text(FAMILY)?.ok_or_else(|| config.error(FAMILY, "is missing"))?;
        if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == family) {
            return Err(config.error(FAMILY, format!("is `{family}`, which is not supported: {reason}")));
        }
        let Some((_, read)) = FAMILIES.iter().find(|(name, _)| *name == family) else {
            let known = FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownArchitecture { file: file.into(), found: family.into(), known });
        };
        let mut spec = read(&config)?;
        // Files in use have ids past the vocabulary, which no model can choose.
        spec.eos.retain(|id| (*id as usize) < spec.vocab);
        for layer in &spec.layers {
            // Files of extended models state the original context, or the extended one.
            let reach = layer.attention.rope.as_ref().and_then(Rope::reach);
            spec.context = spec.context.max(reach.unwrap_or(0));
            let (heads, kv_heads) = (layer.attention.heads, layer.attention.kv_heads);
            if heads % kv_heads != 0 {
                let reason = format!("is {heads}, which is not a multiple of the {kv_heads} key-value heads");
                return Err(config.error("num_attention_heads", reason));
            }
        }
        Ok(spec)
    }
}
