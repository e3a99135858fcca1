//! Tiny GGUF files, written from tiny checkpoints the way llama.cpp's converter writes them.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

pub(super) type Fields = BTreeMap<String, Value>;
pub(super) type Tensors = BTreeMap<String, Tensor>;

pub(super) const FAMILIES: [&str; 8] =
    ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"];

pub(super) fn folder(family: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "eft-models", "goldens", family].iter().collect()
}

fn architecture(family: &str) -> &str {
    if family == "llama3" { "llama" } else { family }
}

/// Returns the metadata that the converter would write.
pub(super) fn fields(family: &str) -> Fields {
    let text = std::fs::read(folder(family).join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let architecture = architecture(family);
    let mut fields = Fields::new();
    fields.insert("general.architecture".into(), Value::String(architecture.into()));
    let mut put = |name: &str, value| drop(fields.insert(format!("{architecture}.{name}"), value));
    for (hugging_face, gguf) in [
        ("hidden_size", "embedding_length"),
        ("n_embd", "embedding_length"),
        ("num_attention_heads", "attention.head_count"),
        ("n_head", "attention.head_count"),
        ("num_key_value_heads", "attention.head_count_kv"),
        ("num_hidden_layers", "block_count"),
        ("n_layer", "block_count"),
        ("intermediate_size", "feed_forward_length"),
        ("max_position_embeddings", "context_length"),
        ("n_positions", "context_length"),
        ("head_dim", "attention.key_length"),
        ("head_dim", "attention.value_length"),
        ("sliding_window", "attention.sliding_window"),
    ] {
        if let Some(size) = config[hugging_face].as_u64() {
            put(gguf, Value::U32(size as u32));
        }
    }
    for (hugging_face, gguf) in [
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        if let Some(number) = config[hugging_face].as_f64() {
            put(gguf, Value::F32(number as f32));
        }
    }
    if let Some(width) = config["query_pre_attn_scalar"].as_f64() {
        put("attention.scale", Value::F32((1.0 / width.sqrt()) as f32));
    }
    match family {
        "gpt2" => put("feed_forward_length", Value::U32(128)),
        "gemma3" => {
            put("rope.freq_base", Value::F32(1e6));
            let slides = [true, true, false].map(Value::Bool).to_vec();
            put("attention.sliding_window_pattern", Value::Array(slides));
        }
        _ => put("rope.freq_base", Value::F32(1e4)),
    }
    fields
}

/// Returns the tensors under their GGUF names, with their rows in the order of GGUF.
pub(super) fn tensors(family: &str) -> Tensors {
    let file = folder(family).join("model.safetensors");
    let mut tensors = Tensors::new();
    for (name, tensor) in candle_core::safetensors::load(file, &Device::Cpu).unwrap() {
        let (name, tensor) = converted(family, &name, tensor);
        tensors.insert(name, tensor);
    }
    if family == "llama3" {
        // Pairs with a wavelength above the original context of 16 rotate at an eighth of their frequency; those below
        // a fourth of it are unchanged; those between are interpolated.
        let factor = |pair: i32| {
            let wave = 2.0 * std::f32::consts::PI * 10_000f32.powf(pair as f32 / 4.0);
            let smooth = (16.0 / wave - 1.0) / 3.0;
            if wave > 16.0 {
                8.0
            } else if wave < 4.0 {
                1.0
            } else {
                1.0 / ((1.0 - smooth) / 8.0 + smooth)
            }
        };
        let factors: Vec<f32> = (0..4).map(factor).collect();
        tensors.insert("rope_freqs.weight".into(), Tensor::new(factors, &Device::Cpu).unwrap());
    }
    tensors
}

/// Returns the metadata of an adapter that the converter would write.
pub(super) fn adapter_fields(family: &str, alpha: f32) -> Fields {
    let text = |text: &str| Value::String(text.into());
    let fields = [
        ("general.type", text("adapter")),
        ("general.architecture", text(architecture(family))),
        ("adapter.type", text("lora")),
        ("adapter.lora.alpha", Value::F32(alpha)),
    ];
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Returns the tensors of one of PEFT's adapters under their GGUF names. The converter changes the rows of the matrix B as it
/// changes those of the weight, and writes the matrix A of an embedding with a row for each token.
pub(super) fn adapter_tensors(family: &str, adapter: &str) -> Tensors {
    let file = folder(adapter).join("adapter_model.safetensors");
    let mut tensors = Tensors::new();
    for (name, tensor) in candle_core::safetensors::load(file, &Device::Cpu).unwrap() {
        let Some((module, part)) = name.trim_start_matches("base_model.model.").split_once(".lora_") else {
            continue; // the weight of the base, which PEFT saves with adapters of embeddings
        };
        let weight = format!("{module}.weight");
        let (name, tensor) = match part {
            "A.weight" => (format!("{}.lora_a", converted("", &weight, tensor.clone()).0), tensor),
            "B.weight" if family == "gpt2" => {
                (format!("{}.lora_b", converted("", &weight, tensor.clone()).0), tensor)
            }
            "B.weight" => {
                let (weight, tensor) = converted(family, &weight, tensor);
                (format!("{weight}.lora_b"), tensor)
            }
            "embedding_A" => ("token_embd.weight.lora_a".into(), tensor.t().unwrap().contiguous().unwrap()),
            "embedding_B" => ("token_embd.weight.lora_b".into(), tensor),
            other => panic!("{other}"),
        };
        tensors.insert(name, tensor);
    }
    tensors
}

fn converted(family: &str, name: &str, tensor: Tensor) -> (String, Tensor) {
    let norm = name.contains("norm.");
    let tensor = match family {
        "llama" | "llama3" if name.contains("q_proj") => neighbours(&tensor, 4),
        "llama" | "llama3" if name.contains("k_proj") => neighbours(&tensor, 2),
        "gemma2" | "gemma3" if norm => (tensor + 1.0).unwrap(),
        "gpt2" if tensor.rank() == 2 && !name.contains(".wte.") && !name.contains(".wpe.") => {
            tensor.t().unwrap().contiguous().unwrap()
        }
        _ => tensor,
    };
    let after_attention = if family.starts_with("gemma") { "post_attention_norm" } else { "ffn_norm" };
    let mut name = name.replace("post_attention_layernorm", after_attention);
    for (hugging_face, gguf) in [
        ("model.layers", "blk"),
        ("transformer.h.", "blk."),
        ("model.norm", "output_norm"),
        ("transformer.ln_f", "output_norm"),
        ("model.embed_tokens", "token_embd"),
        ("transformer.wte", "token_embd"),
        ("transformer.wpe", "position_embd"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("ln_1", "attn_norm"),
        ("ln_2", "ffn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ] {
        name = name.replace(hugging_face, gguf);
    }
    (name, tensor)
}

/// The converter's `permute`: interleaves the two halves of each head.
fn neighbours(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = tensor.dims2().unwrap();
    let halves = tensor.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

/// Writes a file. Each tensor is stored in `dtype` if its rows are whole blocks of it, and in f32 otherwise.
pub(super) fn write(file: &Path, fields: &Fields, tensors: &Tensors, dtype: GgmlDType) {
    let quantise = |tensor: &Tensor| {
        let fits = tensor.rank() == 2 && tensor.dim(1).unwrap().is_multiple_of(dtype.block_size());
        QTensor::quantize(tensor, if fits { dtype } else { GgmlDType::F32 }).unwrap()
    };
    let quantised: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), quantise(tensor))).collect();
    let tensors: Vec<_> = quantised.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
    gguf_file::write(&mut std::fs::File::create(file).unwrap(), &fields, &tensors).unwrap();
}

/// Adds a vocabulary of 96 tokens: the given ones, then invented ones.
pub(super) fn with_vocab(mut fields: Fields, model: &str, tokens: &[(&str, i32)]) -> Fields {
    let rest = (tokens.len()..96).map(|id| (format!("t{id}"), 1));
    let all: Vec<_> = tokens.iter().map(|(text, kind)| (text.to_string(), *kind)).chain(rest).collect();
    let texts = all.iter().map(|(text, _)| Value::String(text.clone())).collect();
    let kinds = all.iter().map(|(_, kind)| Value::I32(*kind)).collect();
    fields.insert("tokenizer.ggml.model".into(), Value::String(model.into()));
    fields.insert("tokenizer.ggml.tokens".into(), Value::Array(texts));
    fields.insert("tokenizer.ggml.token_type".into(), Value::Array(kinds));
    fields
}
