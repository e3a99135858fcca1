//! Mixtures of experts: Mixtral, which is Mistral with experts, and Qwen3-MoE, which is Qwen3 with them.
use super::llama::{self, Details};
use super::sizes::{Sizes, activation};
use crate::Result;
use crate::config::Config;
use crate::rope::RopeDefaults;
use crate::spec::{DecoderSpec, ExpertsSpec, FeedForward, LinearSpec, MlpShape, MlpSpec, NormSpec, Routing};

pub(super) fn mixtral(config: &Config<'_>) -> Result<DecoderSpec> {
    let window = config.optional_size("sliding_window")?;
    let windows = vec![window; config.layers("num_hidden_layers")?];
    let rope = RopeDefaults::theta(1_000_000.0);
    let mut spec = llama::decoder(config, Details { windows, rope, ..Details::default() })?;
    let mixture = Mixture {
        experts: count(config, 8)?,
        per_token: config.size_or("num_experts_per_tok", 2)?,
        wide: config.size("intermediate_size")?,
        routing: Routing::SoftmaxOfChosen,
        names: ["w1", "w3", "w2"],
    };
    // The default differs from that of Llama.
    let epsilon = config.number_or("rms_norm_eps", 1e-5)?;
    let with_epsilon = |norm: &mut NormSpec| norm.epsilon = epsilon;
    with_epsilon(&mut spec.final_norm);
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        layer.attention_norm.as_mut().map(with_epsilon);
        layer.mlp_norm.as_mut().map(with_epsilon);
        layer.feed_forward = mixture.of_layer(config, &format!("model.layers.{index}.block_sparse_moe"))?;
    }
    Ok(spec)
}

pub(super) fn qwen3_moe(config: &Config<'_>) -> Result<DecoderSpec> {
    let mut spec = llama::qwen3(config)?;
    let mixture = Mixture {
        experts: count(config, 128)?,
        per_token: config.size_or("num_experts_per_tok", 8)?,
        wide: config.size("moe_intermediate_size")?,
        routing: match config.flag_or("norm_topk_prob", false)? {
            true => Routing::SoftmaxOfChosen,
            false => Routing::Softmax,
        },
        names: ["gate_proj", "up_proj", "down_proj"],
    };
    let step = config.size_or("decoder_sparse_step", 1)?;
    let dense = match config.get("mlp_only_layers") {
        Some(_) => config.numbers("mlp_only_layers")?,
        None => Vec::new(),
    };
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        if (index + 1).is_multiple_of(step) && !dense.contains(&(index as f32)) {
            layer.feed_forward = mixture.of_layer(config, &format!("model.layers.{index}.mlp"))?;
        }
    }
    Ok(spec)
}

/// The number of experts, which has two names in these families.
pub(super) fn count(config: &Config<'_>, default: usize) -> Result<usize> {
    config.size_or("num_experts", config.size_or("num_local_experts", default)?)
}

/// Refuses more experts than any model has, and more for each token than there are. `field` is the number of experts.
pub(super) fn check(config: &Config<'_>, field: &str, experts: usize, per_token: usize) -> Result<()> {
    let layers = config.layers("num_hidden_layers")?;
    if experts * layers > MAX_EXPERTS {
        let reason = format!("is {experts} for {layers} layers; expected at most {MAX_EXPERTS} in all");
        return Err(config.error(field, reason));
    }
    if per_token > experts {
        let reason = format!("is {per_token}, more than the {experts} experts");
        return Err(config.error("num_experts_per_tok", reason));
    }
    Ok(())
}

/// The sizes of a mixture of experts.
struct Mixture {
    experts: usize,
    per_token: usize,
    /// The intermediate width of an expert.
    wide: usize,
    routing: Routing,
    /// The names of the linear layers of an expert: gate, up and down.
    names: [&'static str; 3],
}

/// More experts than any model has in all its layers. Each costs memory as soon as it is described.
const MAX_EXPERTS: usize = 1 << 16;

impl Mixture {
    /// The mixture of one layer, with tensors under `prefix`.
    fn of_layer(&self, config: &Config<'_>, prefix: &str) -> Result<FeedForward> {
        let Self { experts, per_token, wide, routing, names } = *self;
        check(config, "num_experts", experts, per_token)?;
        let activation = activation(config, "hidden_act", "silu")?;
        let hidden = Sizes::read(config)?.hidden;
        let expert = |expert: usize| {
            let linear = |name: &str, inputs, outputs| {
                LinearSpec::new(format!("{prefix}.experts.{expert}.{name}"), inputs, outputs, false)
            };
            MlpSpec {
                shape: MlpShape::Gated {
                    gate: linear(names[0], hidden, wide),
                    up: linear(names[1], hidden, wide),
                },
                activation,
                down: linear(names[2], wide, hidden),
            }
        };
        Ok(FeedForward::Experts(ExpertsSpec {
            router: LinearSpec::new(format!("{prefix}.gate"), hidden, experts, false),
            experts: (0..experts).map(expert).collect(),
            per_token,
            routing,
            shared: None,
        }))
    }
}
