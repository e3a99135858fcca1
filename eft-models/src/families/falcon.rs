//! Falcon: parallel attention and feed-forward parts, few key-value heads, one matrix for queries, keys and values.
use super::sizes::{activation, attention_scale};
use crate::Result;
use crate::config::Config;
use crate::rope::{Rope, RopeDefaults};
use crate::spec::{
    AttentionSpec, DecoderSpec, FeedForward, LayerSpec, Layout, LinearSpec, MlpShape, MlpSpec, NormKind,
    NormSpec, Projection,
};

pub(super) fn falcon(config: &Config<'_>) -> Result<DecoderSpec> {
    let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let head_dim = (hidden / heads).max(1);
    if config.flag_or("alibi", false)? {
        return Err(config.error("alibi", "is true; only rotary positions are supported"));
    }
    let new = config.flag_or("new_decoder_architecture", false)?;
    let parallel = new || config.flag_or("parallel_attn", true)?;
    let kv_heads = match (new, config.flag_or("multi_query", true)?) {
        (true, _) => config.size_or("num_kv_heads", heads)?,
        (false, true) => 1,
        (false, false) => heads,
    };
    let bias = config.flag_or("bias", false)?;
    let wide = config.size_or("ffn_hidden_size", 4 * hidden)?;
    let epsilon = config.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = activation(config, "activation", "gelu")?;
    let rope = Rope::read(config, head_dim, None, &RopeDefaults::default())?;
    let norm = |name: String| NormSpec { name, width: hidden, epsilon, kind: NormKind::Layer };
    // The new architecture has separate norms for the two parts.
    let two_norms = new && config.size_or("num_ln_in_parallel_attn", 2)? == 2;
    let layer = |layer: usize| {
        let prefix = format!("transformer.h.{layer}");
        let linear =
            |name: &str, inputs, outputs| LinearSpec::new(format!("{prefix}.{name}"), inputs, outputs, bias);
        let (first, second) = match (two_norms, parallel) {
            (true, _) => ("ln_attn", Some("ln_mlp")),
            (false, true) => ("input_layernorm", None),
            (false, false) => ("input_layernorm", Some("post_attention_layernorm")),
        };
        let qkv = (heads + 2 * kv_heads) * head_dim;
        LayerSpec {
            attention_norm: Some(norm(format!("{prefix}.{first}"))),
            attention: AttentionSpec {
                heads,
                kv_heads,
                head_dim,
                projection: Projection::Fused(LinearSpec {
                    layout: Layout::Grouped { groups: kv_heads, queries: heads / kv_heads, head: head_dim },
                    ..linear("self_attention.query_key_value", hidden, qkv)
                }),
                output: linear("self_attention.dense", heads * head_dim, hidden),
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
            mlp_norm: second.map(|name| norm(format!("{prefix}.{name}"))),
            feed_forward: FeedForward::Dense(MlpSpec {
                shape: MlpShape::Plain(linear("mlp.dense_h_to_4h", hidden, wide)),
                activation,
                down: linear("mlp.dense_4h_to_h", wide, hidden),
            }),
            mlp_post_norm: None,
            residual_scale: 1.0,
            parallel,
        }
    };
    let vocab = config.size("vocab_size")?;
    let tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(DecoderSpec {
        family: "falcon".into(),
        hidden,
        vocab,
        context: config.size_or("max_position_embeddings", 2048)?,
        eos: config.ids("eos_token_id")?,
        embedding: "transformer.word_embeddings".into(),
        positions: None,
        position_offset: 0,
        embedding_scale: 1.0,
        layers: (0..config.layers("num_hidden_layers")?).map(layer).collect(),
        final_norm: norm("transformer.ln_f".into()),
        head: (!tied).then(|| LinearSpec::new("lm_head".into(), hidden, vocab, false)),
        softcap: None,
        logit_scale: 1.0,
    })
}
