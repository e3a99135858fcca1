//! Llama 4, its text model: Llama with attention in chunks, layers without positions, norms of heads without weights, and experts.
use super::experts;
use super::llama::{self, Details};
use super::sizes::{Sizes, activation, chunks, unrotated};
use crate::Result;
use crate::config::Config;
use crate::rope::RopeDefaults;
use crate::spec::{
    DecoderSpec, ExpertsSpec, FeedForward, Layout, LinearSpec, MlpShape, MlpSpec, NormKind, NormSpec,
    Projection, Routing, Temperature,
};

pub(super) fn llama4(config: &Config<'_>) -> Result<DecoderSpec> {
    // The family's default differs from the usual one, and its files always have the field.
    let head_dim = config.size("head_dim")?;
    if !head_dim.is_multiple_of(2) {
        return Err(config.error("head_dim", format!("is {head_dim}, an odd number")));
    }
    let sizes = Sizes { epsilon: config.number_or("rms_norm_eps", 1e-5)?, ..Sizes::read(config)? };
    let unrotated = unrotated(config)?;
    let chunks = chunks(config, |layer| !unrotated[layer])?;
    let rope = RopeDefaults::theta(500_000.0);
    let bias = config.flag_or("attention_bias", false)?;
    let details = Details { attention_bias: bias, output_bias: bias, unrotated, rope, ..Details::default() };
    let mut spec = llama::decoder(config, details)?;
    let with_experts = with_experts(config, sizes.layers)?;
    let temperature = match config.flag_or("attn_temperature_tuning", true)? {
        true => Some(Temperature {
            scale: config.number_or("attn_scale", 0.1)? as f32,
            every: config.size_or("floor_scale", 8192)?,
            first: 1,
        }),
        false => None,
    };
    let normed = config.flag_or("use_qk_norm", true)?;
    let activation = activation(config, "hidden_act", "silu")?;
    let (wide, wide_dense) =
        (config.size_or("intermediate_size", 8192)?, config.size_or("intermediate_size_mlp", 16_384)?);
    let count = config.size_or("num_local_experts", 16)?;
    let per_token = config.size_or("num_experts_per_tok", 1)?;
    experts::check(config, "num_local_experts", count, per_token)?;
    spec.final_norm.epsilon = sizes.epsilon;
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let prefix = format!("model.layers.{index}");
        for norm in [&mut layer.attention_norm, &mut layer.mlp_norm].into_iter().flatten() {
            norm.epsilon = sizes.epsilon;
        }
        let attention = &mut layer.attention;
        if attention.rope.is_some() {
            if let Projection::Separate { query, key, .. } = &mut attention.projection {
                query.layout = Layout::Paired { head: sizes.head_dim };
                key.layout = Layout::Paired { head: sizes.head_dim };
            }
            // Heads are normalised after they are rotated, which does not change their length.
            let norm = NormSpec {
                name: format!("{prefix}.self_attn.qk_norm"),
                width: sizes.head_dim,
                epsilon: sizes.epsilon,
                kind: NormKind::RmsUnweighted,
            };
            attention.head_norms = normed.then(|| (norm.clone(), norm));
        } else {
            attention.temperature = temperature;
        }
        attention.chunk = chunks[index];
        let prefix = format!("{prefix}.feed_forward");
        layer.feed_forward = match with_experts[index] {
            false => sizes.gated(&prefix, wide_dense, activation, false).into(),
            true => {
                let stacked = |name: &str, index, inputs, outputs| LinearSpec {
                    layout: Layout::Stacked { index, count, from: 0, every: 1 },
                    ..LinearSpec::new(format!("{prefix}.experts.{name}"), inputs, outputs, false)
                };
                let expert = |index| MlpSpec {
                    shape: MlpShape::FusedGated(stacked("gate_up_proj", index, sizes.hidden, 2 * wide)),
                    activation,
                    down: stacked("down_proj", index, wide, sizes.hidden),
                };
                FeedForward::Experts(ExpertsSpec {
                    router: LinearSpec::new(format!("{prefix}.router"), sizes.hidden, count, false),
                    experts: (0..count).map(expert).collect(),
                    per_token,
                    routing: Routing::SigmoidOfInputs,
                    shared: Some(sizes.gated(&format!("{prefix}.shared_expert"), wide, activation, false)),
                })
            }
        };
    }
    Ok(spec)
}

/// Which layers have experts.
fn with_experts(config: &Config<'_>, layers: usize) -> Result<Vec<bool>> {
    let listed = match config.get("moe_layers") {
        Some(_) => config.numbers("moe_layers")?,
        None => {
            let step = config.size_or("interleave_moe_layer_step", 1)?;
            (0..layers).filter(|layer| (layer + 1).is_multiple_of(step)).map(|layer| layer as f32).collect()
        }
    };
    Ok((0..layers).map(|layer| listed.contains(&(layer as f32))).collect())
}
