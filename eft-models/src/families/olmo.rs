//! Olmo 2 and 3: norms on the outputs of attention and of the feed-forward part instead of their inputs, and norms over
//! all queries and all keys of a token. Olmo 3 has sliding windows in most layers.
use super::sizes::{Sizes, activation, attention_scale, windows};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, NormKind, NormSpec};

pub(super) fn olmo2(config: &Config<'_>) -> Result<DecoderSpec> {
    let head_dim = Sizes::read(config)?.head_dim;
    let rope = Rope::read(config, head_dim, None, &RopeDefaults::default())?;
    decoder(config, &[], &rope, &rope)
}

pub(super) fn olmo3(config: &Config<'_>) -> Result<DecoderSpec> {
    let head_dim = Sizes::read(config)?.head_dim;
    let defaults = RopeDefaults::theta(500_000.0);
    let full = Rope::read(config, head_dim, Some("full_attention"), &defaults)?;
    // Older files describe the embedding of layers with full attention only; the others have the plain one.
    let sliding = match config.object("rope_parameters")? {
        Some(_) => Rope::read(config, head_dim, Some("sliding_attention"), &defaults)?,
        None => Rope::plain(config.number_or("rope_theta", defaults.theta)?, head_dim),
    };
    let windows = windows(config, |layer| (layer + 1) % 4 != 0)?;
    decoder(config, &windows, &sliding, &full)
}

fn decoder(
    config: &Config<'_>,
    windows: &[Option<usize>],
    sliding_rope: &Rope,
    full_rope: &Rope,
) -> Result<DecoderSpec> {
    let sizes = Sizes { epsilon: config.number_or("rms_norm_eps", 1e-5)?, ..Sizes::read(config)? };
    let bias = config.flag_or("attention_bias", false)?;
    let activation = activation(config, "hidden_act", "silu")?;
    let wide = config.size("intermediate_size")?;
    let norm = |name: String| sizes.norm(name, NormKind::Rms);
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let attention = format!("{prefix}.self_attn");
        let row_norm = |name: &str, heads: usize| NormSpec {
            width: heads * sizes.head_dim,
            ..norm(format!("{attention}.{name}"))
        };
        let window = windows.get(layer).copied().flatten();
        LayerSpec {
            attention_norm: None,
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&attention, bias),
                output: sizes.output(format!("{attention}.o_proj"), bias),
                head_norms: Some((row_norm("q_norm", sizes.heads), row_norm("k_norm", sizes.kv_heads))),
                rope: Some(if window.is_some() { sliding_rope.clone() } else { full_rope.clone() }),
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: Some(norm(format!("{prefix}.post_attention_layernorm"))),
            mlp_norm: None,
            feed_forward: sizes.gated(&format!("{prefix}.mlp"), wide, activation, false).into(),
            mlp_post_norm: Some(norm(format!("{prefix}.post_feedforward_layernorm"))),
            parallel: false,
            residual_scale: 1.0,
        }
    };
    sizes.decoder(config, layer, NormKind::Rms, false)
}
