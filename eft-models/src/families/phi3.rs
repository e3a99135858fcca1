//! Phi-3: Llama with fused projections.
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, LinearSpec, MlpShape, MlpSpec, NormKind, Projection,
};

pub(super) fn phi3(config: &Config<'_>) -> Result<DecoderSpec> {
    let sizes = Sizes::read(config)?;
    let rope = Rope::read_partial(config, sizes.head_dim, &RopeDefaults::default())?;
    let activation = activation(config, "hidden_act", "silu")?;
    let wide = config.size("intermediate_size")?;
    let window = config.optional_size("sliding_window")?;
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let linear =
            |name: &str, inputs, outputs| LinearSpec::new(format!("{prefix}.{name}"), inputs, outputs, false);
        let qkv = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim;
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.input_layernorm"), NormKind::Rms)),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: Projection::Fused(linear("self_attn.qkv_proj", sizes.hidden, qkv)),
                output: sizes.output(format!("{prefix}.self_attn.o_proj"), false),
                head_norms: None,
                rope: Some(rope.clone()),
                scale: attention_scale(sizes.head_dim as f64),
                softcap: None,
                window,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: Some(sizes.norm(format!("{prefix}.post_attention_layernorm"), NormKind::Rms)),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::FusedGated(linear("mlp.gate_up_proj", sizes.hidden, 2 * wide)),
                activation,
                down: linear("mlp.down_proj", wide, sizes.hidden),
            }),
            mlp_post_norm: None,
            residual_scale: 1.0,
            parallel: false,
        }
    };
    sizes.decoder(config, layer, NormKind::Rms, false)
}
