//! OPT: learned positions, layer norms, and a rectifier as the activation.
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, LinearSpec, MlpShape, MlpSpec, NormKind,
};

/// The number of rows of the position embedding that no position uses.
const UNUSED_POSITIONS: usize = 2;

pub(super) fn opt(config: &Config<'_>) -> Result<DecoderSpec> {
    let sizes = Sizes { epsilon: 1e-5, ..Sizes::read(config)? };
    for (field, supported) in [
        ("do_layer_norm_before", true),
        ("layer_norm_elementwise_affine", true),
        ("_remove_final_layer_norm", false),
    ] {
        if config.flag_or(field, supported)? != supported {
            return Err(config.error(field, format!("is {}; only {supported} is supported", !supported)));
        }
    }
    const EMBEDDED: &str = "word_embed_proj_dim";
    let embedded = config.size_or(EMBEDDED, sizes.hidden)?;
    if embedded != sizes.hidden {
        let reason = format!("is {embedded}; only the hidden width, {}, is supported", sizes.hidden);
        return Err(config.error(EMBEDDED, reason));
    }
    let bias = config.flag_or("enable_bias", true)?;
    let activation = activation(config, "activation_function", "relu")?;
    let wide = config.size("ffn_dim")?;
    let layer = |layer: usize| {
        let prefix = format!("model.decoder.layers.{layer}");
        let linear =
            |name: &str, inputs, outputs| LinearSpec::new(format!("{prefix}.{name}"), inputs, outputs, bias);
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.self_attn_layer_norm"), NormKind::Layer)),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&format!("{prefix}.self_attn"), bias),
                output: sizes.output(format!("{prefix}.self_attn.out_proj"), bias),
                head_norms: None,
                rope: None,
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window: None,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: Some(sizes.norm(format!("{prefix}.final_layer_norm"), NormKind::Layer)),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::Plain(linear("fc1", sizes.hidden, wide)),
                activation,
                down: linear("fc2", wide, sizes.hidden),
            }),
            mlp_post_norm: None,
            parallel: false,
            residual_scale: 1.0,
        }
    };
    Ok(DecoderSpec {
        embedding: "model.decoder.embed_tokens".into(),
        positions: Some("model.decoder.embed_positions".into()),
        position_offset: UNUSED_POSITIONS,
        final_norm: sizes.norm("model.decoder.final_layer_norm".into(), NormKind::Layer),
        ..sizes.decoder(config, layer, NormKind::Layer, true)?
    })
}
