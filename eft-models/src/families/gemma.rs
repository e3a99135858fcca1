//! Gemma 2 and 3: scaled embeddings, norms before and after each part, sliding windows in some layers. Gemma 2 has soft
//! caps; Gemma 3 has norms of heads and two bases of rotary embeddings.
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, NormKind, NormSpec};

pub(super) fn gemma2(config: &Config<'_>) -> Result<DecoderSpec> {
    // Every other layer has a sliding window, beginning with the first.
    decoder(config, |layer| layer % 2 == 0, false)
}

pub(super) fn gemma3(config: &Config<'_>) -> Result<DecoderSpec> {
    // All layers but every sixth have a sliding window.
    let pattern = config.size_or("sliding_window_pattern", config.size_or("_sliding_window_pattern", 6)?)?;
    decoder(config, |layer| (layer + 1) % pattern != 0, true)
}

fn decoder(config: &Config<'_>, slides: impl Fn(usize) -> bool, third: bool) -> Result<DecoderSpec> {
    let mut sizes = Sizes::read(config)?;
    sizes.head_dim = config.size_or("head_dim", 256)?;
    let kinds = config.texts("layer_types")?;
    let slides = |layer: usize| match &kinds {
        Some(kinds) => kinds.get(layer) == Some(&"sliding_attention"),
        None => slides(layer),
    };
    let window = config.size_or("sliding_window", 4096)?;
    let full_rope = Rope::read(config, sizes.head_dim, Some("full_attention"), &RopeDefaults::default())?;
    let sliding_rope = match config.optional_number("rope_local_base_freq")? {
        Some(theta) => Rope::plain(theta, sizes.head_dim),
        // Older files of Gemma 3 leave the base of sliding layers to its default.
        None if third && config.get("rope_parameters").is_none() => Rope::plain(10_000.0, sizes.head_dim),
        None => Rope::read(config, sizes.head_dim, Some("sliding_attention"), &RopeDefaults::default())?,
    };
    let softcap = |field: &str| Ok::<_, crate::Error>(config.optional_number(field)?.map(|x| x as f32));
    let attention_softcap = softcap("attn_logit_softcapping")?;
    let scale = attention_scale(config.number_or("query_pre_attn_scalar", 256.0)?);
    let bias = config.flag_or("attention_bias", false)?;
    let activation = activation(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let wide = config.size("intermediate_size")?;
    let norm = |name: String| sizes.norm(name, NormKind::RmsPlusOne);
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let attention = format!("{prefix}.self_attn");
        let head_norm =
            |name: &str| NormSpec { width: sizes.head_dim, ..norm(format!("{attention}.{name}")) };
        LayerSpec {
            attention_norm: Some(norm(format!("{prefix}.input_layernorm"))),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&attention, bias),
                output: sizes.output(format!("{attention}.o_proj"), bias),
                head_norms: third.then(|| (head_norm("q_norm"), head_norm("k_norm"))),
                rope: Some(if slides(layer) { sliding_rope.clone() } else { full_rope.clone() }),
                scale,
                softcap: attention_softcap,
                window: slides(layer).then_some(window),
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: Some(norm(format!("{prefix}.post_attention_layernorm"))),
            mlp_norm: Some(norm(format!("{prefix}.pre_feedforward_layernorm"))),
            feed_forward: sizes.gated(&format!("{prefix}.mlp"), wide, activation, false).into(),
            mlp_post_norm: Some(norm(format!("{prefix}.post_feedforward_layernorm"))),
            residual_scale: 1.0,
            parallel: false,
        }
    };
    Ok(DecoderSpec {
        embedding_scale: (sizes.hidden as f32).sqrt(),
        softcap: softcap("final_logit_softcapping")?,
        ..sizes.decoder(config, layer, NormKind::RmsPlusOne, true)?
    })
}
