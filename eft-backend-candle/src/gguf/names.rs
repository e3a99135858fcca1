//! Translates tensor names from those of Hugging Face, which specs use, to those of GGUF.
use eft_models::DecoderSpec;

/// Tensors outside the layers, without `.weight` and `.bias`: Hugging Face's name and GGUF's.
const OUTSIDE: [(&str, &str); 6] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
];

/// Tensors of a layer, after the layer's prefix.
const INSIDE: [(&str, &str); 20] = [
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
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];

/// Returns the name that a tensor has in the file; `None` if GGUF has no name for it.
pub(super) fn stored(name: &str, spec: &DecoderSpec) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let find = |table: &[(&str, &'static str)], name: &str| {
        table.iter().find(|(hugging_face, _)| *hugging_face == name).map(|(_, gguf)| *gguf)
    };
    if let Some(gguf) = find(&OUTSIDE, stem) {
        return Some(format!("{gguf}.{kind}"));
    }
    let block = stem.strip_prefix("model.layers.").or_else(|| stem.strip_prefix("transformer.h."))?;
    let (layer, part) = block.split_once('.')?;
    // Hugging Face's `post_attention_layernorm` is the norm of attention's output in families that have one (Gemma),
    // and the norm before the MLP in all others.
    let norms_output = spec.layers.first().is_some_and(|layer| layer.attention_post_norm.is_some());
    let gguf = match part {
        "post_attention_layernorm" if norms_output => "post_attention_norm",
        "post_attention_layernorm" => "ffn_norm",
        part => find(&INSIDE, part)?,
    };
    Some(format!("blk.{layer}.{gguf}.{kind}"))
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
