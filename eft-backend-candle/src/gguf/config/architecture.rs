//! [`Architecture`]: what differs between the values of `general.architecture`.

/// A field: its name in Hugging Face's `config.json`, its name in GGUF (after the architecture's prefix), and whether it
/// is required.
pub(super) type Field = (&'static str, &'static str, bool);

/// An architecture whose metadata can be translated. The rest of the family is defined by `eft_models`.
#[derive(Debug, PartialEq)]
pub(in crate::gguf) struct Architecture {
    /// The value of `general.architecture`.
    pub(in crate::gguf) name: &'static str,
    /// The `model_type` of the same family on Hugging Face.
    pub(super) family: &'static str,
    /// Whether the rows of queries and keys are in the order of the original Llama, in which neighbouring channels of a
    /// head rotate together.
    pub(in crate::gguf) interleaved: bool,
    /// Fields that have other names than usual, or that only this architecture has.
    own: &'static [Field],
}

/// The fields of most architectures.
const COMMON: [Field; 9] = [
    ("hidden_size", "embedding_length", true),
    ("num_attention_heads", "attention.head_count", true),
    ("num_key_value_heads", "attention.head_count_kv", false),
    ("num_hidden_layers", "block_count", true),
    ("intermediate_size", "feed_forward_length", true),
    ("max_position_embeddings", "context_length", true),
    ("rope_theta", "rope.freq_base", false),
    ("sliding_window", "attention.sliding_window", false),
    ("final_logit_softcapping", "final_logit_softcapping", false),
];

const RMS_EPSILON: Field = ("rms_norm_eps", "attention.layer_norm_rms_epsilon", true);
const LAYER_EPSILON: &str = "attention.layer_norm_epsilon";

const RMS: &[Field] = &[RMS_EPSILON];

const fn plain(name: &'static str, family: &'static str, own: &'static [Field]) -> Architecture {
    Architecture { name, family, interleaved: false, own }
}

const fn interleaved(name: &'static str, family: &'static str, own: &'static [Field]) -> Architecture {
    Architecture { name, family, interleaved: true, own }
}

/// The fields of a mixture of experts.
const EXPERTS: [Field; 2] =
    [("num_experts", "expert_count", true), ("num_experts_per_tok", "expert_used_count", true)];

const MIXTRAL: Architecture = interleaved("llama", "mixtral", &[RMS_EPSILON, EXPERTS[0], EXPERTS[1]]);

const KNOWN: [Architecture; 18] = [
    interleaved("llama", "llama", RMS),
    interleaved("mistral3", "llama", RMS),
    interleaved("smollm3", "smollm3", RMS),
    interleaved(
        "granite",
        "granite",
        &[
            RMS_EPSILON,
            ("embedding_multiplier", "embedding_scale", false),
            ("attention_multiplier", "attention.scale", false),
            ("residual_multiplier", "residual_scale", false),
            ("logits_scaling", "logit_scale", true),
        ],
    ),
    plain("qwen2", "qwen2", RMS),
    plain("qwen3", "qwen3", RMS),
    plain(
        "qwen3moe",
        "qwen3_moe",
        &[RMS_EPSILON, EXPERTS[0], EXPERTS[1], ("moe_intermediate_size", "expert_feed_forward_length", true)],
    ),
    plain(
        "gpt-oss",
        "gpt_oss",
        &[RMS_EPSILON, EXPERTS[0], EXPERTS[1], ("sliding_window", "attention.sliding_window", true)],
    ),
    plain("gemma2", "gemma2", RMS),
    plain("gemma3", "gemma3_text", RMS),
    plain("phi3", "phi3", RMS),
    plain("olmo2", "olmo2", RMS),
    plain("command-r", "cohere", COHERE),
    plain("cohere2", "cohere2", COHERE),
    plain("starcoder2", "starcoder2", &[("norm_epsilon", LAYER_EPSILON, true)]),
    plain("gptneox", "gpt_neox", &[("layer_norm_eps", LAYER_EPSILON, true)]),
    plain(
        "falcon",
        "falcon",
        &[
            ("layer_norm_epsilon", LAYER_EPSILON, true),
            ("num_kv_heads", "attention.head_count_kv", false),
            ("ffn_hidden_size", "feed_forward_length", true),
        ],
    ),
    plain(
        "gpt2",
        "gpt2",
        &[
            ("n_embd", "embedding_length", true),
            ("n_head", "attention.head_count", true),
            ("n_layer", "block_count", true),
            ("n_inner", "feed_forward_length", true),
            ("n_positions", "context_length", true),
            ("layer_norm_epsilon", LAYER_EPSILON, true),
        ],
    ),
];

const COHERE: &[Field] = &[("layer_norm_eps", LAYER_EPSILON, true), ("logit_scale", "logit_scale", true)];

impl Architecture {
    /// Returns the architecture of a name; `None` if it is not supported. `mixture` says whether the file holds a mixture
    /// of experts.
    pub(super) fn named(name: &str, mixture: bool) -> Option<&'static Self> {
        if mixture && name == MIXTRAL.name {
            return Some(&MIXTRAL);
        }
        KNOWN.iter().find(|known| known.name == name)
    }

    /// The names of all supported architectures.
    pub(super) fn names() -> String {
        KNOWN.map(|known| known.name).join(", ")
    }

    /// Returns the architecture that llama.cpp gives a model of this family; `None` if it is not supported.
    pub(in crate::gguf) fn of_family(family: &str) -> Option<&'static Self> {
        let family = if family == "mistral" { "llama" } else { family };
        KNOWN.iter().chain([&MIXTRAL]).find(|known| known.family == family)
    }

    /// Whether the family has experts.
    pub(super) fn is_mixture(&self) -> bool {
        self.own.contains(&EXPERTS[0])
    }

    /// The fields of the architecture.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        // Those of the architecture come first: errors are to name the field that the family reads.
        self.own.iter().chain(&COMMON)
    }
}
