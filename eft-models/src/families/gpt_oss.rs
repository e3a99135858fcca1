//! gpt-oss: Llama with attention sinks, sliding windows in every other layer, and experts whose activations are clamped.
use super::experts;
use super::llama::{self, Details};
use super::sizes::{Sizes, limits};
use crate::Result;
use crate::config::Config;
use crate::rope::RopeDefaults;
use crate::spec::{
    Activation, DecoderSpec, ExpertsSpec, FeedForward, Layout, LinearSpec, MlpShape, MlpSpec, Routing,
};

pub(super) fn gpt_oss(config: &Config<'_>) -> Result<DecoderSpec> {
    // The family's defaults differ from the usual ones, and its files always have these fields.
    let head_dim = config.size("head_dim")?;
    if config.object("rope_parameters")?.or(config.object("rope_scaling")?).is_none() {
        return Err(config.error("rope_parameters", "is missing"));
    }
    let sizes = Sizes { head_dim, epsilon: config.number_or("rms_norm_eps", 1e-5)?, ..Sizes::read(config)? };
    let windows = limits(config, "sliding_attention", ("sliding_window", 128), |layer| layer % 2 == 0)?;
    let bias = config.flag_or("attention_bias", true)?;
    let rope = RopeDefaults::theta(150_000.0);
    let details = Details { attention_bias: bias, output_bias: bias, windows, rope, ..Details::default() };
    let mut spec = llama::decoder(config, details)?;
    let limit = config.number_or("swiglu_limit", 7.0)?;
    if limit <= 0.0 {
        return Err(config.error("swiglu_limit", format!("is {limit}; expected a positive number")));
    }
    let alpha = config.number_or("swiglu_alpha", 1.702)? as f32;
    let activation = Activation::ClampedSwish { alpha, limit: limit as f32 };
    let count = experts::count(config, 128)?;
    let per_token = config.size_or("num_experts_per_tok", 4)?;
    experts::check(config, "num_local_experts", count, per_token)?;
    let (hidden, wide) = (sizes.hidden, config.size("intermediate_size")?);
    spec.final_norm.epsilon = sizes.epsilon;
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let prefix = format!("model.layers.{index}");
        for norm in [&mut layer.attention_norm, &mut layer.mlp_norm].into_iter().flatten() {
            norm.epsilon = sizes.epsilon;
        }
        layer.attention.sinks = Some(format!("{prefix}.self_attn.sinks"));
        let prefix = format!("{prefix}.mlp");
        let stacked =
            |name: &str, index, [inputs, outputs]: [usize; 2], [from, every]: [usize; 2]| LinearSpec {
                layout: Layout::Stacked { index, count, from, every },
                ..LinearSpec::new(format!("{prefix}.experts.{name}"), inputs, outputs, true)
            };
        // The outputs of the two layers that read the input alternate.
        let of_pair = |index, from| stacked("gate_up_proj", index, [hidden, wide], [from, 2]);
        let expert = |index| MlpSpec {
            shape: MlpShape::Gated { gate: of_pair(index, 0), up: of_pair(index, 1) },
            activation,
            down: stacked("down_proj", index, [wide, hidden], [0, 1]),
        };
        layer.feed_forward = FeedForward::Experts(ExpertsSpec {
            router: LinearSpec::new(format!("{prefix}.router"), hidden, count, true),
            experts: (0..count).map(expert).collect(),
            per_token,
            routing: Routing::SoftmaxOfChosen,
            shared: None,
        });
    }
    Ok(spec)
}
