//! Translates the metadata of a GGUF file to the `config.json` that the model has on Hugging Face, and builds the
//! [`DecoderSpec`] from that.
use candle_core::quantized::gguf_file::Value as Field;
use eft_models::{DecoderSpec, Error, Result};
use serde_json::{Map, Value, json};

use super::metadata::{Metadata, whole};
use super::tensors::Tensors;

/// The values of `general.architecture` whose metadata can be translated. The rest of the family is defined by
/// `eft_models`.
const KNOWN: [&str; 7] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"];

/// Fields that differ only in their name: that of Hugging Face, that of GGUF (after the architecture's prefix), and
/// whether the field is required.
const FIELDS: [(&str, &str, bool); 10] = [
    ("hidden_size", "embedding_length", true),
    ("num_attention_heads", "attention.head_count", true),
    ("num_key_value_heads", "attention.head_count_kv", false),
    ("num_hidden_layers", "block_count", true),
    ("intermediate_size", "feed_forward_length", true),
    ("max_position_embeddings", "context_length", true),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon", true),
    ("rope_theta", "rope.freq_base", false),
    ("sliding_window", "attention.sliding_window", false),
    ("final_logit_softcapping", "final_logit_softcapping", false),
];

const GPT2_FIELDS: [(&str, &str, bool); 6] = [
    ("n_embd", "embedding_length", true),
    ("n_head", "attention.head_count", true),
    ("n_layer", "block_count", true),
    ("n_inner", "feed_forward_length", true),
    ("n_positions", "context_length", true),
    ("layer_norm_epsilon", "attention.layer_norm_epsilon", true),
];

/// Builds the spec of the model from the metadata, as its family defines it.
pub(super) fn spec(metadata: &Metadata, architecture: &str, tensors: &Tensors) -> Result<DecoderSpec> {
    if !KNOWN.contains(&architecture) {
        let (file, found) = (metadata.file.clone(), architecture.into());
        return Err(Error::UnknownArchitecture { file, found, known: KNOWN.join(", ") });
    }
    let reader = Reader { metadata, architecture, tensors };
    let fields = if architecture == "gpt2" { &GPT2_FIELDS[..] } else { &FIELDS[..] };
    let config = reader.config(fields)?;
    let mut spec =
        DecoderSpec::from_config(&metadata.file, &config).map_err(|error| reader.renamed(error, fields))?;
    reader.stretch(&mut spec)?;
    if let Some(scale) = metadata.number(&reader.key("attention.scale"))?.filter(|scale| *scale != 0.0) {
        spec.layers.iter_mut().for_each(|layer| layer.attention.scale = scale as f32);
    }
    Ok(spec)
}

struct Reader<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    tensors: &'a Tensors,
}

impl Reader<'_> {
    fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.architecture)
    }

    fn has(&self, tensor: &str) -> bool {
        self.tensors.shape(tensor).is_some()
    }

    fn number(&self, field: &str) -> Result<Option<Value>> {
        let key = self.key(field);
        Ok(match self.metadata.get(&key) {
            None => None,
            Some(Field::F32(_) | Field::F64(_)) => self.metadata.number(&key)?.map(Value::from),
            Some(_) => self.metadata.whole(&key)?.map(Value::from),
        })
    }

    fn config(&self, fields: &[(&str, &str, bool)]) -> Result<Value> {
        let mut config = Map::new();
        for (hugging_face, gguf, required) in fields {
            match self.number(gguf)? {
                Some(number) => drop(config.insert((*hugging_face).into(), number)),
                None if *required => return Err(self.metadata.wrong(&self.key(gguf), "is missing")),
                None => {}
            }
        }
        if self.metadata.whole(&self.key("expert_count"))?.is_some_and(|experts| experts > 0) {
            return Err(self
                .metadata
                .wrong(&self.key("expert_count"), "is not 0: mixtures of experts are not supported"));
        }
        let family = if self.architecture == "gemma3" { "gemma3_text" } else { self.architecture };
        let Some([vocab, _]) = self.tensors.shape("token_embd.weight") else {
            let (file, tensor) = (self.metadata.file.clone(), "token_embd.weight".into());
            return Err(Error::BadTensor { file, tensor, reason: "is missing, or is not a matrix".into() });
        };
        config.insert("model_type".into(), family.into());
        config.insert("vocab_size".into(), (*vocab).into());
        config.insert("tie_word_embeddings".into(), (!self.has("output.weight")).into());
        config.insert("attention_bias".into(), self.has("blk.0.attn_q.bias").into());
        config.insert("mlp_bias".into(), self.has("blk.0.ffn_up.bias").into());
        if self.architecture != "gpt2" {
            self.heads(&mut config)?;
            self.scaling(&mut config)?;
        }
        if self.architecture.starts_with("gemma") {
            self.gemma(&mut config)?;
        }
        Ok(Value::Object(config))
    }

    /// Adds the head width, and the share of its channels that rotary embedding rotates.
    fn heads(&self, config: &mut Map<String, Value>) -> Result<()> {
        let size = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or(0);
        let even = size("hidden_size").checked_div(size("num_attention_heads")).unwrap_or(0);
        let whole = |field: &str| self.metadata.whole(&self.key(field));
        let width = whole("attention.key_length")?.unwrap_or(even);
        let values = whole("attention.value_length")?.unwrap_or(width);
        if values != width {
            let reason =
                format!("is {values}, but keys have a width of {width}: different widths are not supported");
            return Err(self.metadata.wrong(&self.key("attention.value_length"), reason));
        }
        let rotated = whole("rope.dimension_count")?.unwrap_or(width);
        if rotated != width {
            // Only this family has heads of which a part rotates.
            if self.architecture != "phi3" || rotated > width {
                let reason = format!("is {rotated}, but heads have a width of {width}");
                return Err(self.metadata.wrong(&self.key("rope.dimension_count"), reason));
            }
            config.insert("partial_rotary_factor".into(), (rotated as f64 / width as f64).into());
        }
        if self.architecture == "llama" && width % 2 == 1 {
            let reason = format!("is {width}; expected an even number");
            return Err(self.metadata.wrong(&self.key("attention.key_length"), reason));
        }
        config.insert("head_dim".into(), width.into());
        Ok(())
    }

    /// Adds the scaling of rotary positions, by which models are extended to longer contexts.
    fn scaling(&self, config: &mut Map<String, Value>) -> Result<()> {
        if self.has("rope_factors_long.weight") || self.has("rope_factors_short.weight") {
            let (file, tensor) = (self.metadata.file.clone(), "rope_factors_long.weight".into());
            let reason =
                "holds factors of rotary positions that depend on the prompt's length, which are not supported".into();
            return Err(Error::BadTensor { file, tensor, reason });
        }
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = match self.number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.number("rope.scale_linear")?,
        };
        match (kind, factor) {
            // Older files give only a factor, which is linear.
            (Some("linear") | None, Some(factor)) if factor.as_f64() != Some(0.0) => {
                config.insert("rope_scaling".into(), json!({"rope_type": "linear", "factor": factor}));
            }
            (Some("none" | "linear") | None, _) => {}
            (Some(other), _) => {
                let reason = format!("is `{other}`; supported are none and linear");
                return Err(self.metadata.wrong(&self.key("rope.scaling.type"), reason));
            }
        }
        Ok(())
    }

    /// Adds the fields of Gemma 2 and 3. Where a file lacks a field, the default of llama.cpp applies.
    fn gemma(&self, config: &mut Map<String, Value>) -> Result<()> {
        let size = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (layers, width) = (size("num_hidden_layers"), size("head_dim"));
        let second = self.architecture == "gemma2";
        // The two models of 27 billion parameters, recognised by their number of layers, scale attention by the square
        // root of hidden size over heads, all others by that of the head width.
        let large = layers == if second { 46 } else { 62 };
        let even = size("hidden_size").checked_div(size("num_attention_heads")).unwrap_or(width);
        config.insert("query_pre_attn_scalar".into(), if large { even } else { width }.into());
        if second {
            config.entry("sliding_window").or_insert(4096.into());
            config.entry("final_logit_softcapping").or_insert(30.0.into());
            let cap = self.number("attn_logit_softcapping")?.unwrap_or(50.0.into());
            config.insert("attn_logit_softcapping".into(), cap);
            return Ok(());
        }
        if !config.contains_key("sliding_window") {
            return Err(self.metadata.wrong(&self.key("attention.sliding_window"), "is missing"));
        }
        let local = self.number("rope.freq_base_swa")?.unwrap_or(10_000.0.into());
        config.insert("rope_local_base_freq".into(), local);
        let key = self.key("attention.sliding_window_pattern");
        match self.metadata.get(&key) {
            None => {}
            Some(Field::Array(slides)) => {
                let kind = |slides: &Field| match slides {
                    Field::Bool(true) => Some("sliding_attention"),
                    Field::Bool(false) => Some("full_attention"),
                    other => whole(other).map(|x| if x > 0 { "sliding_attention" } else { "full_attention" }),
                };
                let kinds = slides.iter().map(kind).collect::<Option<Vec<_>>>();
                let kinds = kinds.filter(|kinds| kinds.len() as u64 == layers);
                let kinds = kinds
                    .ok_or_else(|| self.metadata.wrong(&key, "does not have one entry for each layer"))?;
                config.insert("layer_types".into(), kinds.into());
            }
            Some(_) => {
                drop(config.insert("sliding_window_pattern".into(), json!(self.metadata.whole(&key)?)))
            }
        }
        Ok(())
    }

    /// Applies the factors of rotary frequencies that files of Llama 3.1 hold as a tensor.
    fn stretch(&self, spec: &mut DecoderSpec) -> Result<()> {
        let name = "rope_freqs.weight";
        let Some(shape) = self.tensors.shape(name) else { return Ok(()) };
        let raw = self.tensors.read(name, shape, true)?;
        let factors: Vec<_> =
            raw.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        for rope in spec.layers.iter_mut().filter_map(|layer| layer.attention.rope.as_mut()) {
            let Some(stretched) = rope.clone().with_frequency_divisors(&factors) else {
                let (file, tensor) = (self.metadata.file.clone(), name.into());
                let reason = format!(
                    "does not hold one positive factor for each of {} pairs of channels",
                    rope.dim() / 2
                );
                return Err(Error::BadTensor { file, tensor, reason });
            };
            *rope = stretched;
        }
        Ok(())
    }

    /// Replaces the field's Hugging Face name in an error by its name in the file.
    fn renamed(&self, error: Error, fields: &[(&str, &str, bool)]) -> Error {
        match error {
            Error::Config { file, field, reason } => {
                let gguf = fields
                    .iter()
                    .find(|(hugging_face, _, _)| *hugging_face == field)
                    .map(|(_, gguf, _)| self.key(gguf));
                Error::Config { file, field: gguf.unwrap_or(field), reason }
            }
            other => other,
        }
    }
}
