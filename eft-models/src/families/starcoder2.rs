//! StarCoder 2: Llama's layout with layer norms, biases, and a feed-forward part without a gate.
use super::sizes::{Sizes, activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, LinearSpec, MlpShape, MlpSpec, NormKind,
};

pub(super) fn starcoder2(config: &Config<'_>) -> Result<DecoderSpec> {
    let sizes = Sizes { epsilon: config.number_or("norm_epsilon", 1e-5)?, ..Sizes::read(config)? };
    let rope = Rope::read(config, sizes.head_dim, None, &RopeDefaults::default())?;
    let bias = config.flag_or("use_bias", true)?;
    let activation = activation(config, "hidden_act", "gelu_pytorch_tanh")?;
    let wide = config.size("intermediate_size")?;
    let window = config.optional_size("sliding_window")?;
    let layer = |layer: usize| {
        let prefix = format!("model.layers.{layer}");
        let linear = |name: &str, inputs, outputs| {
            LinearSpec::new(format!("{prefix}.mlp.{name}"), inputs, outputs, bias)
        };
        LayerSpec {
            attention_norm: Some(sizes.norm(format!("{prefix}.input_layernorm"), NormKind::Layer)),
            attention: AttentionSpec {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                projection: sizes.separate(&format!("{prefix}.self_attn"), bias),
                output: sizes.output(format!("{prefix}.self_attn.o_proj"), bias),
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
            mlp_norm: Some(sizes.norm(format!("{prefix}.post_attention_layernorm"), NormKind::Layer)),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::Plain(linear("c_fc", sizes.hidden, wide)),
                activation,
                down: linear("c_proj", wide, sizes.hidden),
            }),
            mlp_post_norm: None,
            parallel: false,
            residual_scale: 1.0,
        }
    };
    sizes.decoder(config, layer, NormKind::Layer, true)
}
