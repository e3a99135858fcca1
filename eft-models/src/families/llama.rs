//! Llama, and the families that differ from it in a detail: Mistral and Ministral (sliding windows), Qwen2 (biases),
//! Qwen3 (norms of heads), SmolLM3 (layers without positions).
use super::sizes::{Sizes, activation, attention_scale, unrotated, windows};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, NormKind, NormSpec};

/// The details in which these families differ.
#[derive(Default)]
pub(super) struct Details {
    pub(super) attention_bias: bool,
    pub(super) output_bias: bool,
    pub(super) mlp_bias: bool,
    pub(super) head_norms: bool,
    /// The default of `tie_word_embeddings`.
    pub(super) tied: bool,
    /// The sliding window of each layer; layers past the end have none.
    pub(super) windows: Vec<Option<usize>>,
    /// Whether the layers have no positions; those past the end have some.
    pub(super) unrotated: Vec<bool>,
    pub(super) rope: RopeDefaults,
}

pub(super) fn llama(config: &Config<'_>) -> Result<DecoderSpec> {
    decoder(config, Details::with_biases(config)?)
}

pub(super) fn mistral(config: &Config<'_>) -> Result<DecoderSpec> {
    let window = config.optional_size_or("sliding_window", 4096)?;
    let windows = vec![window; config.layers("num_hidden_layers")?];
    decoder(config, Details { windows, ..Details::default() })
}

pub(super) fn ministral(config: &Config<'_>) -> Result<DecoderSpec> {
    let windows = windows(config, |_| true)?;
    decoder(config, Details { windows, ..Details::default() })
}

pub(super) fn qwen2(config: &Config<'_>) -> Result<DecoderSpec> {
    let windows = qwen_windows(config)?;
    decoder(config, Details { attention_bias: true, windows, ..Details::default() })
}

pub(super) fn qwen3(config: &Config<'_>) -> Result<DecoderSpec> {
    let bias = config.flag_or("attention_bias", false)?;
    let windows = qwen_windows(config)?;
    let details =
        Details { attention_bias: bias, output_bias: bias, head_norms: true, windows, ..Details::default() };
    decoder(config, details)
}

pub(super) fn smollm3(config: &Config<'_>) -> Result<DecoderSpec> {
    let unrotated = unrotated(config)?;
    let windows = match config.flag_or("use_sliding_window", false)? {
        true if config.get("sliding_window").is_some() => windows(config, |layer| unrotated[layer])?,
        _ => Vec::new(),
    };
    let rope = RopeDefaults::theta(2_000_000.0);
    decoder(config, Details { tied: true, windows, unrotated, rope, ..Details::with_biases(config)? })
}

impl Details {
    /// The details of a family whose configuration says which linear layers have biases.
    pub(super) fn with_biases(config: &Config<'_>) -> Result<Self> {
        let bias = config.flag_or("attention_bias", false)?;
        let mlp_bias = config.flag_or("mlp_bias", false)?;
        Ok(Self { attention_bias: bias, output_bias: bias, mlp_bias, ..Self::default() })
    }
}

/// The sliding windows of Qwen, if they are switched on: in the layers that `layer_types` lists, or from layer
/// `max_window_layers` on.
fn qwen_windows(config: &Config<'_>) -> Result<Vec<Option<usize>>> {
    let layers = config.layers("num_hidden_layers")?;
    if !config.flag_or("use_sliding_window", false)? {
        return Ok(vec![None; layers]);
    }
    let full = config.size_or("max_window_layers", layers)?;
    windows(config, |layer| layer >= full)
}

pub(super) fn decoder(config: &Config<'_>, details: Details) -> Result<DecoderSpec> {
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, None, &details.rope)?;
    let activation = activation(config, "hidden_act", "silu")?;
    let wide = config.size("intermediate_size")?;
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let attention = format!("{prefix}.self_attn");
        let head_norm = |name: &str| NormSpec {
            name: format!("{attention}.{name}"),
            width: sizes.head_dim,
            epsilon: sizes.epsilon,
            kind: NormKind::Rms,
        };
        let rotates = !details.unrotated.get(layer).is_some_and(|unrotated| *unrotated);
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.input_layernorm"), NormKind::Rms)),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&attention, details.attention_bias),
                output: sizes.output(format!("{attention}.o_proj"), details.output_bias),
                head_norms: details.head_norms.then(|| (head_norm("q_norm"), head_norm("k_norm"))),
                rope: rotates.then(|| rope.clone()),
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window: details.windows.get(layer).copied().flatten(),
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: Some(sizes.norm(format!("{prefix}.post_attention_layernorm"), NormKind::Rms)),
            feed_forward: sizes.gated(&format!("{prefix}.mlp"), wide, activation, details.mlp_bias).into(),
            mlp_post_norm: None,
            parallel: false,
            residual_scale: 1.0,
        }
    };
    sizes.decoder(config, layer, NormKind::Rms, details.tied)
}
