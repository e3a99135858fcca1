//! GPT-2: learned positions, layer norms, weights stored as inputs × outputs.
use super::sizes::{activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, Layout, LinearSpec, MlpShape, MlpSpec, NormKind,
    NormSpec, Projection,
};

pub(super) fn gpt2(config: &Config<'_>) -> Result<DecoderSpec> {
    let (hidden, heads) = (config.size("n_embd")?, config.size("n_head")?);
    let head_dim = (hidden / heads).max(1);
    let wide = config.size_or("n_inner", 4 * hidden)?;
    let epsilon = config.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = activation(config, "activation_function", "gelu_new")?;
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    let norm = |name: String| NormSpec { name, width: hidden, epsilon, kind: NormKind::Layer };
    let layer = |layer: usize| {
        let prefix = format!("transformer.h.{layer}");
        let linear = |name: &str, inputs, outputs| LinearSpec {
            layout: Layout::InOut,
            ..LinearSpec::new(format!("{prefix}.{name}"), inputs, outputs, true)
        };
        let scale = if scaled { attention_scale(head_dim as f64) } else { 1.0 };
        LayerSpec {
            attention_norm: Some(norm(format!("{prefix}.ln_1"))),
            attention: AttentionSpec {
                heads,
                kv_heads: heads,
                head_dim,
                projection: Projection::Fused(linear("attn.c_attn", hidden, 3 * heads * head_dim)),
                output: linear("attn.c_proj", heads * head_dim, hidden),
                head_norms: None,
                rope: None,
                scale: if by_layer { scale / (layer + 1) as f32 } else { scale },
                softcap: None,
                window: None,
                chunk: None,
                temperature: None,
                sinks: None,
            },
            attention_post_norm: None,
            mlp_norm: Some(norm(format!("{prefix}.ln_2"))),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::Plain(linear("mlp.c_fc", hidden, wide)),
                activation,
                down: linear("mlp.c_proj", wide, hidden),
            }),
            mlp_post_norm: None,
            residual_scale: 1.0,
            parallel: false,
        }
    };
    let vocab = config.size("vocab_size")?;
    let tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(DecoderSpec {
        family: "gpt2".into(),
        hidden,
        vocab,
        context: config.size("n_positions")?,
        eos: config.ids("eos_token_id")?,
        embedding: "transformer.wte".into(),
        positions: Some("transformer.wpe".into()),
        position_offset: 0,
        embedding_scale: 1.0,
        layers: (0..config.layers("n_layer")?).map(layer).collect(),
        final_norm: norm("transformer.ln_f".into()),
        head: (!tied).then(|| LinearSpec::new("lm_head".into(), hidden, vocab, false)),
        softcap: None,
        logit_scale: 1.0,
    })
}
