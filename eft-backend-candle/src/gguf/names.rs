//! Translates tensor names from those of Hugging Face, which specs use, to those of GGUF.
use eft_models::DecoderSpec;
use eft_models::spec::FeedForward;

/// Where a file holds a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The name in the file.
    pub(super) name: String,
    /// The number of the expert, if the file holds the tensors of all experts as one.
    pub(super) expert: Option<Expert>,
}

/// One of the experts whose tensors are stored as one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expert {
    pub(super) index: usize,
    /// How many experts there are.
    pub(super) count: usize,
    /// The name of the tensor in files that hold each expert by itself, as the first ones did.
    pub(super) alone: String,
}

/// Tensors outside the layers, without `.weight` and `.bias`: Hugging Face's name and GGUF's.
const OUTSIDE: [(&str, &str); 10] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.word_embeddings", "token_embd"),
    ("transformer.ln_f", "output_norm"),
    ("gpt_neox.embed_in", "token_embd"),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("embed_out", "output"),
];

/// The prefixes of the tensors of layers.
const LAYERS: [&str; 3] = ["model.layers.", "transformer.h.", "gpt_neox.layers."];

/// Tensors of a layer, after the layer's prefix.
const INSIDE: [(&str, &str); 32] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.gate", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("mlp.router", "ffn_gate_inp"),
    ("self_attn.sinks", "attn_sinks"),
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("attention.query_key_value", "attn_qkv"),
    ("attention.dense", "attn_output"),
    ("self_attention.query_key_value", "attn_qkv"),
    ("self_attention.dense", "attn_output"),
    ("mlp.dense_h_to_4h", "ffn_up"),
    ("mlp.dense_4h_to_h", "ffn_down"),
    // Falcon, where there are two norms: the one of the feed-forward part has the name of the only one.
    ("ln_mlp", "attn_norm"),
    ("ln_attn", "attn_norm_2"),
];

/// Tensors of an expert.
const EXPERT: [(&str, &str); 6] = [
    ("gate_proj", "ffn_gate"),
    ("up_proj", "ffn_up"),
    ("down_proj", "ffn_down"),
    ("w1", "ffn_gate"),
    ("w3", "ffn_up"),
    ("w2", "ffn_down"),
];

/// Returns where the file holds a tensor; `None` if GGUF has no name for it.
pub(super) fn stored(name: &str, spec: &DecoderSpec) -> Option<Place> {
    // Hugging Face's name of attention sinks has no `.weight` at its end.
    let (stem, kind) = if name.ends_with(".sinks") { (name, "weight") } else { name.rsplit_once('.')? };
    let find = |table: &[(&str, &'static str)], name: &str| {
        table.iter().find(|(hugging_face, _)| *hugging_face == name).map(|(_, gguf)| *gguf)
    };
    if let Some(gguf) = find(&OUTSIDE, stem) {
        return Some(Place { name: format!("{gguf}.{kind}"), expert: None });
    }
    let block = LAYERS.iter().find_map(|prefix| stem.strip_prefix(prefix))?;
    let (layer, part) = block.split_once('.')?;
    if let Some((_, expert)) = part.split_once(".experts.") {
        let (index, part) = expert.split_once('.')?;
        let FeedForward::Experts(experts) = &spec.layers.get(layer.parse::<usize>().ok()?)?.feed_forward
        else {
            return None;
        };
        let (index, count, gguf) = (index.parse().ok()?, experts.experts.len(), find(&EXPERT, part)?);
        let alone = format!("blk.{layer}.{gguf}.{index}.{kind}");
        let name = format!("blk.{layer}.{gguf}_exps.{kind}");
        return Some(Place { name, expert: Some(Expert { index, count, alone }) });
    }
    // Hugging Face's `post_attention_layernorm` is the norm of attention's output in families that have one (Gemma,
    // Olmo), and the norm before the feed-forward part in all others. In gpt-oss, it has the former's name nevertheless.
    let norms_output = spec.layers.first().is_some_and(|layer| layer.attention_post_norm.is_some());
    let gguf = match part {
        "post_attention_layernorm" if norms_output || spec.family == "gpt_oss" => "post_attention_norm",
        "post_attention_layernorm" => "ffn_norm",
        part => find(&INSIDE, part)?,
    };
    Some(Place { name: format!("blk.{layer}.{gguf}.{kind}"), expert: None })
}

/// Returns the number of heads of the tensors of a layer whose rows are in the order of the original Llama, in files that
/// keep this order; `None` for all others.
pub(super) fn interleaved_heads(name: &str, spec: &DecoderSpec) -> Option<usize> {
    let attention = &spec.layers.first()?.attention;
    let of = |part: &str| name.split('.').any(|own| own == part);
    if of("q_proj") {
        Some(attention.heads)
    } else if of("k_proj") {
        Some(attention.kv_heads)
    } else {
        None
    }
}
