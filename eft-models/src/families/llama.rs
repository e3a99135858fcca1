//! Llama, and the families that differ from it in a detail: Mistral (sliding windows), Qwen2 (biases), Qwen3 (norms of
//! heads).
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::Rope;
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, NormKind, NormSpec};

/// The details in which these families differ.
struct Details {
    attention_bias: bool,
    output_bias: bool,
    mlp_bias: bool,
    head_norms: bool,
    /// The sliding window of each layer; layers past the end have none.
    windows: Vec<Option<usize>>,
}

pub(super) fn llama(config: &Config<'_>) -> Result<DecoderSpec> {
    let bias = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let details =
        Details { attention_bias: bias, output_bias: bias, mlp_bias, head_norms: false, windows: Vec::new() };
    decoder(config, details)
}

pub(super) fn mistral(config: &Config<'_>) -> Result<DecoderSpec> {
    let window = config.optional_size("sliding_window")?;
    let windows = vec![window; config.layers("num_hidden_layers")?];
    let details =
        Details { attention_bias: false, output_bias: false, mlp_bias: false, head_norms: false, windows };
    decoder(config, details)
}

pub(super) fn qwen2(config: &Config<'_>) -> Result<DecoderSpec> {
    let windows = qwen_windows(config)?;
    let details =
        Details { attention_bias: true, output_bias: false, mlp_bias: false, head_norms: false, windows };
    decoder(config, details)
}

pub(super) fn qwen3(config: &Config<'_>) -> Result<DecoderSpec> {
    let bias = config.flag_or("attention_bias", false)?;
    let windows = qwen_windows(config)?;
    let details =
        Details { attention_bias: bias, output_bias: bias, mlp_bias: false, head_norms: true, windows };
    decoder(config, details)
}

/// The sliding windows of Qwen, if they are switched on: in the layers that `layer_types` lists, or from layer
/// `max_window_layers` on.
fn qwen_windows(config: &Config<'_>) -> Result<Vec<Option<usize>>> {
    let layers = config.layers("num_hidden_layers")?;
    let window = config.optional_size("sliding_window")?;
    if !config.flag_or("use_sliding_window", false)? {
        return Ok(vec![None; layers]);
    }
    if let Some(kinds) = config.texts("layer_types")? {
        return Ok(kinds.iter().map(|kind| window.filter(|_| *kind == "sliding_attention")).collect());
    }
    let full = config.size_or("max_window_layers", layers)?;
    Ok((0..layers).map(|layer| window.filter(|_| layer >= full)).collect())
}

fn decoder(config: &Config<'_>, details: Details) -> Result<DecoderSpec> {
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, None)?;
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
        LayerSpec {
            attention_norm: sizes.norm(format!("{prefix}.input_layernorm"), NormKind::Rms),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&attention, details.attention_bias),
                output: sizes.output(format!("{attention}.o_proj"), details.output_bias),
                head_norms: details.head_norms.then(|| (head_norm("q_norm"), head_norm("k_norm"))),
                rope: Some(rope.clone()),
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window: details.windows.get(layer).copied().flatten(),
            },
            attention_post_norm: None,
            mlp_norm: Some(sizes.norm(format!("{prefix}.post_attention_layernorm"), NormKind::Rms)),
            mlp: sizes.gated(&format!("{prefix}.mlp"), wide, activation, details.mlp_bias),
            mlp_post_norm: None,
            parallel: false,
        }
    };
    sizes.decoder(config, layer, NormKind::Rms, false)
}
