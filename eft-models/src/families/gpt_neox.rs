//! GPT-NeoX, and Pythia: parallel attention and feed-forward parts with a layer norm each, rotary embedding of a part of
//! each head, one matrix for queries, keys and values.
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, Layout, LinearSpec, MlpShape, MlpSpec, NormKind,
    Projection,
};

pub(super) fn gpt_neox(config: &Config<'_>) -> Result<DecoderSpec> {
    let sizes = Sizes { epsilon: config.number_or("layer_norm_eps", 1e-5)?, ..Sizes::read(config)? };
    let (hidden, heads, head_dim) = (sizes.hidden, sizes.heads, sizes.head_dim);
    let defaults = RopeDefaults {
        theta_field: "rotary_emb_base",
        share: 0.25,
        share_field: "rotary_pct",
        ..RopeDefaults::default()
    };
    let rope = Rope::read_partial(config, head_dim, &defaults)?;
    let activation = activation(config, "hidden_act", "gelu")?;
    let wide = config.size("intermediate_size")?;
    let parallel = config.flag_or("use_parallel_residual", true)?;
    let attention_bias = config.flag_or("attention_bias", true)?;
    let layer = |layer: usize| {
        let prefix = format!("gpt_neox.layers.{layer}");
        let linear = |name: &str, inputs, outputs, bias| {
            LinearSpec::new(format!("{prefix}.{name}"), inputs, outputs, bias)
        };
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.input_layernorm"), NormKind::Layer)),
            attention: AttentionSpec {
                heads,
                kv_heads: heads,
                head_dim,
                projection: Projection::Fused(LinearSpec {
                    layout: Layout::Grouped { groups: heads, queries: 1, head: head_dim },
                    ..linear("attention.query_key_value", hidden, 3 * heads * head_dim, attention_bias)
                }),
                output: linear("attention.dense", heads * head_dim, hidden, attention_bias),
                head_norms: None,
                rope: Some(rope.clone()),
                scale: attention_scale(head_dim as f64),
                softcap: None,
                window: None,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: Some(sizes.norm(format!("{prefix}.post_attention_layernorm"), NormKind::Layer)),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::Plain(linear("mlp.dense_h_to_4h", hidden, wide, true)),
                activation,
                down: linear("mlp.dense_4h_to_h", wide, hidden, true),
            }),
            mlp_post_norm: None,
            parallel,
            residual_scale: 1.0,
        }
    };
    let spec = sizes.decoder(config, layer, NormKind::Layer, false)?;
    Ok(DecoderSpec {
        embedding: "gpt_neox.embed_in".into(),
        final_norm: sizes.norm("gpt_neox.final_layer_norm".into(), NormKind::Layer),
        head: spec.head.map(|head| LinearSpec { name: "embed_out".into(), ..head }),
        ..spec
    })
}
