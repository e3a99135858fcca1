//! Cohere (Command R) and Cohere 2 (Command R7B, Command A): attention and the feed-forward part read one layer norm
//! without a bias, and rotary embedding pairs neighbouring channels. In Cohere 2, layers with full attention have no
//! positions, and the others have a sliding window.
use super::sizes::{Sizes, activation, attention_scale, windows};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, Layout, LinearSpec, NormKind, Projection};

pub(super) fn cohere(config: &Config<'_>) -> Result<DecoderSpec> {
    if config.flag_or("use_qk_norm", false)? {
        return Err(config.error("use_qk_norm", "is true; norms of queries and keys are not supported"));
    }
    decoder(config, &RopeDefaults::theta(500_000.0), None)
}

pub(super) fn cohere2(config: &Config<'_>) -> Result<DecoderSpec> {
    let windows = windows(config, |layer| (layer + 1) % 4 != 0)?;
    decoder(config, &RopeDefaults::default(), Some(&windows))
}

/// `windows` is the sliding window of each layer, where layers without one have no positions; without `windows`, all
/// layers have full attention and positions.
fn decoder(
    config: &Config<'_>,
    rope: &RopeDefaults,
    windows: Option<&[Option<usize>]>,
) -> Result<DecoderSpec> {
    let sizes = Sizes { epsilon: config.number_or("layer_norm_eps", 1e-5)?, ..Sizes::read(config)? };
    if !sizes.head_dim.is_multiple_of(2) {
        return Err(config.error("head_dim", format!("is {}, an odd number", sizes.head_dim)));
    }
    let rope = Rope::read(config, sizes.head_dim, None, rope)?;
    let bias = config.flag_or("attention_bias", false)?;
    let activation = activation(config, "hidden_act", "silu")?;
    let wide = config.size("intermediate_size")?;
    let paired = |linear| LinearSpec { layout: Layout::Paired { head: sizes.head_dim }, ..linear };
    let projection = |prefix: &str| match sizes.separate(prefix, bias) {
        Projection::Separate { query, key, value } => {
            Projection::Separate { query: paired(query), key: paired(key), value }
        }
        fused => fused,
    };
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let window = windows.and_then(|windows| windows.get(layer).copied().flatten());
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.input_layernorm"), NormKind::LayerUnbiased)),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: projection(&format!("{prefix}.self_attn")),
                output: sizes.output(format!("{prefix}.self_attn.o_proj"), bias),
                head_norms: None,
                rope: (windows.is_none() || window.is_some()).then(|| rope.clone()),
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: None,
            feed_forward: sizes.gated(&format!("{prefix}.mlp"), wide, activation, false).into(),
            mlp_post_norm: None,
            parallel: true,
            residual_scale: 1.0,
        }
    };
    Ok(DecoderSpec {
        logit_scale: config.number_or("logit_scale", 0.0625)? as f32,
        ..sizes.decoder(config, layer, NormKind::LayerUnbiased, true)?
    })
}
