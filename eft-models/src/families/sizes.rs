//! The sizes and tensor names that most families have in common.
use crate::Result;
use crate::config::Config;
use crate::spec::{
    Activation, DecoderSpec, LayerSpec, LinearSpec, MlpShape, MlpSpec, NormKind, NormSpec, Projection,
};

/// The sizes that most families' configurations give under the same field names.
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) layers: usize,
    pub(super) vocab: usize,
    pub(super) context: usize,
    pub(super) epsilon: f64,
}

impl Sizes {
    /// Reads the sizes.
    pub(super) fn read(config: &Config<'_>) -> Result<Self> {
        let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
        Ok(Self {
            hidden,
            heads,
            kv_heads: config.size_or("num_key_value_heads", heads)?,
            head_dim: config.size_or("head_dim", (hidden / heads).max(1))?,
            layers: config.layers("num_hidden_layers")?,
            vocab: config.size("vocab_size")?,
            context: config.size("max_position_embeddings")?,
            epsilon: config.number_or("rms_norm_eps", 1e-6)?,
        })
    }

    /// A norm over the hidden width.
    pub(super) fn norm(&self, name: String, kind: NormKind) -> NormSpec {
        NormSpec { name, width: self.hidden, epsilon: self.epsilon, kind }
    }

    /// The linear layers `q_proj`, `k_proj` and `v_proj` under a prefix.
    pub(super) fn separate(&self, prefix: &str, bias: bool) -> Projection {
        let linear = |name: &str, heads: usize| {
            LinearSpec::new(format!("{prefix}.{name}"), self.hidden, heads * self.head_dim, bias)
        };
        Projection::Separate {
            query: linear("q_proj", self.heads),
            key: linear("k_proj", self.kv_heads),
            value: linear("v_proj", self.kv_heads),
        }
    }

    /// The linear layer from the concatenated heads back to the hidden width.
    pub(super) fn output(&self, name: String, bias: bool) -> LinearSpec {
        LinearSpec::new(name, self.heads * self.head_dim, self.hidden, bias)
    }

    /// The linear layers `gate_proj`, `up_proj` and `down_proj` under a prefix. `wide` is the intermediate width.
    pub(super) fn gated(&self, prefix: &str, wide: usize, activation: Activation, bias: bool) -> MlpSpec {
        let up = |name: &str| LinearSpec::new(format!("{prefix}.{name}"), self.hidden, wide, bias);
        MlpSpec {
            shape: MlpShape::Gated { gate: up("gate_proj"), up: up("up_proj") },
            activation,
            down: LinearSpec::new(format!("{prefix}.down_proj"), wide, self.hidden, bias),
        }
    }

    /// A decoder of these layers, with the tensor names that most families share. `tied` is the family's default for
    /// `tie_word_embeddings`.
    pub(super) fn decoder(
        &self,
        config: &Config<'_>,
        layers: impl Fn(usize) -> LayerSpec,
        norm: NormKind,
        tied: bool,
    ) -> Result<DecoderSpec> {
        Ok(DecoderSpec {
            family: config.text("model_type")?.unwrap_or_default().into(),
            hidden: self.hidden,
            vocab: self.vocab,
            context: self.context,
            eos: config.ids("eos_token_id")?,
            embedding: "model.embed_tokens".into(),
            positions: None,
            position_offset: 0,
            embedding_scale: 1.0,
            layers: (0..self.layers).map(layers).collect(),
            final_norm: self.norm("model.norm".into(), norm),
            head: self.head(config, tied)?,
            softcap: None,
            logit_scale: 1.0,
        })
    }

    /// The output head; `None` if it is tied to the embedding.
    fn head(&self, config: &Config<'_>, tied: bool) -> Result<Option<LinearSpec>> {
        let tied = config.flag_or("tie_word_embeddings", tied)?;
        Ok((!tied).then(|| LinearSpec::new("lm_head".into(), self.hidden, self.vocab, false)))
    }
}

/// The sliding window of each layer: `sliding_window` in the layers that `layer_types` lists, or in those that `slides`
/// chooses if there is no such list. An absent `sliding_window` is 4096, and null is none.
pub(super) fn windows(config: &Config<'_>, slides: impl Fn(usize) -> bool) -> Result<Vec<Option<usize>>> {
    limits(config, "sliding_attention", ("sliding_window", 4096), slides)
}

/// The chunks of each layer: `attention_chunk_size` in the layers that `layer_types` lists, or in those that `chunked`
/// chooses if there is no such list. An absent `attention_chunk_size` is 8192, and null is none.
pub(super) fn chunks(config: &Config<'_>, chunked: impl Fn(usize) -> bool) -> Result<Vec<Option<usize>>> {
    limits(config, "chunked_attention", ("attention_chunk_size", 8192), chunked)
}

/// A limit of how far the attention of each layer reaches: a field with its default, in the layers of this type.
pub(super) fn limits(
    config: &Config<'_>,
    limited: &str,
    (field, default): (&str, usize),
    is_limited: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    const KINDS: &str = "layer_types";
    let layers = config.layers("num_hidden_layers")?;
    let limit = config.optional_size_or(field, default)?;
    let Some(kinds) = config.texts(KINDS)? else {
        return Ok((0..layers).map(|layer| limit.filter(|_| is_limited(layer))).collect());
    };
    if kinds.len() != layers {
        let reason = format!("has {} entries; the model has {layers} layers", kinds.len());
        return Err(config.error(KINDS, reason));
    }
    let of_kind = |kind: &&str| match *kind {
        kind if kind == limited => Ok(limit),
        "full_attention" => Ok(None),
        other => {
            Err(config.error(KINDS, format!("holds `{other}`; supported are full_attention, {limited}")))
        }
    };
    kinds.iter().map(of_kind).collect()
}

/// Which layers have no positions: those for which `no_rope_layers` is 0, in spite of its name, or every
/// `no_rope_layer_interval`-th layer if there is no such list.
pub(super) fn unrotated(config: &Config<'_>) -> Result<Vec<bool>> {
    const ROTATED: &str = "no_rope_layers";
    let layers = config.layers("num_hidden_layers")?;
    let listed = config.get(ROTATED).map(|_| config.numbers(ROTATED)).transpose()?.unwrap_or_default();
    if listed.is_empty() {
        let interval = config.size_or("no_rope_layer_interval", 4)?;
        return Ok((1..=layers).map(|layer| layer.is_multiple_of(interval)).collect());
    }
    if listed.len() != layers {
        let reason = format!("has {} entries; the model has {layers} layers", listed.len());
        return Err(config.error(ROTATED, reason));
    }
    Ok(listed.iter().map(|rotated| *rotated == 0.0).collect())
}

/// Reads the name of an activation function.
pub(super) fn activation(config: &Config<'_>, field: &str, default: &str) -> Result<Activation> {
    match config.text(field)?.unwrap_or(default) {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => {
            let known = "silu, gelu, gelu_new, gelu_pytorch_tanh, relu";
            Err(config.error(field, format!("is `{other}`; supported are {known}")))
        }
    }
}

/// The factor of attention logits, `width^-½`, where `width` is the head width unless the family says otherwise.
pub(super) fn attention_scale(width: f64) -> f32 {
    (1.0 / width.sqrt()) as f32
}
