//! The configuration of a model, and the index of its files of weights.
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::memory::refused;
use super::tensor_files::error_of_model;
use super::*;

fn golden(family: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "eft-models", "goldens", family].iter().collect()
}

/// A folder with another configuration, and no weights.
fn folder_of(dir: &Path, config: &[u8]) -> PathBuf {
    std::fs::write(dir.join("config.json"), config).unwrap();
    dir.into()
}

#[test]
fn configurations() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(golden("llama").join("config.json")).unwrap();
    for content in garbled(&good) {
        let folder = folder_of(dir.path(), &content);
        let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
        refused(&folder, &shown, &["config.json"], || error_of_model(&folder));
    }
    for other in ["[]", "5", "null", "\"llama\"", "{}"] {
        let folder = folder_of(dir.path(), other.as_bytes());
        refused(&folder, other, &["config.json", "model_type"], || error_of_model(&folder));
    }
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let cases: [(&str, &str, Value); 55] = [
        ("llama", "model_type", json!(5)),
        ("llama", "model_type", json!(["llama"])),
        ("llama", "model_type", json!(null)),
        ("llama", "hidden_size", json!(-32)),
        ("llama", "hidden_size", json!(1.5)),
        ("llama", "hidden_size", json!("32")),
        ("llama", "hidden_size", json!(1e300)),
        ("llama", "hidden_size", json!([32])),
        ("llama", "hidden_size", nested(100)),
        ("llama", "num_hidden_layers", json!(u64::MAX)),
        ("llama", "num_hidden_layers", json!(0)),
        ("llama", "num_hidden_layers", json!(true)),
        ("llama", "vocab_size", json!(-1)),
        ("llama", "vocab_size", json!(1u64 << 62)),
        ("llama", "vocab_size", json!({})),
        ("llama", "num_attention_heads", json!(1u64 << 40)),
        ("llama", "num_key_value_heads", json!("two")),
        ("llama", "num_key_value_heads", json!(0)),
        ("llama", "head_dim", json!(-8)),
        ("llama", "intermediate_size", json!(null)),
        ("llama", "intermediate_size", json!(1u64 << 33)),
        ("llama", "rms_norm_eps", json!("small")),
        ("llama", "rms_norm_eps", json!(1e300)),
        ("llama", "max_position_embeddings", json!(-1)),
        ("llama", "max_position_embeddings", json!(1u64 << 40)),
        ("llama", "hidden_act", json!(5)),
        ("llama", "hidden_act", json!("x".repeat(10_000))),
        ("llama", "tie_word_embeddings", json!("yes")),
        ("llama", "attention_bias", json!(1)),
        ("llama", "mlp_bias", json!([])),
        ("llama", "eos_token_id", json!({"id": 2})),
        ("llama", "eos_token_id", json!(1.5)),
        ("llama", "rope_parameters", json!("linear")),
        ("llama", "rope_parameters", json!([1])),
        ("llama", "rope_parameters", json!({"rope_type": 5})),
        ("llama", "rope_parameters", json!({"rope_type": "linear"})),
        ("llama", "rope_parameters", json!({"rope_type": "linear", "factor": 0})),
        ("llama", "rope_parameters", json!({"rope_type": "linear", "factor": "two"})),
        ("llama", "rope_parameters", json!({"rope_theta": 0})),
        ("llama", "rope_parameters", json!({"rope_theta": -1e4})),
        (
            "llama3",
            "rope_parameters",
            json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
            "high_freq_factor": 4, "original_max_position_embeddings": 16}),
        ),
        (
            "llama3",
            "rope_parameters",
            json!({"rope_type": "llama3", "factor": 0, "low_freq_factor": 1,
            "high_freq_factor": 4, "original_max_position_embeddings": 16}),
        ),
        ("llama", "quantization_config", json!("gptq")),
        ("llama", "quantization_config", json!([4])),
        ("llama", "quantization_config", json!({"quant_method": 4})),
        ("llama", "quantization_config", json!({})),
        ("gemma3", "layer_types", json!("full_attention")),
        ("gemma3", "sliding_window", json!("wide")),
        ("qwen3-moe", "num_experts", json!(-4)),
        ("qwen3-moe", "num_experts", json!(1u64 << 40)),
        ("qwen3-moe", "num_experts_per_tok", json!("all")),
        ("mixtral", "num_local_experts", json!(0)),
        ("gpt2", "n_embd", json!("wide")),
        ("gpt-neox", "rotary_pct", json!("half")),
        ("gpt-neox", "use_parallel_residual", json!("yes")),
    ];
    for (family, field, value) in cases {
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(golden(family).join("config.json")).unwrap()).unwrap();
        config[field] = value.clone();
        let folder = folder_of(dir.path(), config.to_string().as_bytes());
        let what: String = format!("{family}: {field} = {value}").chars().take(200).collect();
        // A wrong rotary embedding is named by the field in the object.
        let words = ["config.json", if field == "rope_parameters" { "rope" } else { field }];
        refused(&folder, &what, &words, || error_of_model(&folder));
    }
}

#[test]
fn sizes_that_are_allowed_take_little_memory_too() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let good: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    for (field, value) in [
        ("num_hidden_layers", json!(1000)),
        ("vocab_size", json!(1 << 24)),
        ("hidden_size", json!(1 << 24)),
        ("intermediate_size", json!(1 << 24)),
        ("max_position_embeddings", json!(1 << 24)),
        ("head_dim", json!(1 << 16)),
        ("num_attention_heads", json!(1 << 16)),
    ] {
        let mut config = good.clone();
        config[field] = value.clone();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let what = format!("{field} = {value}");
        let loaded = super::memory::bounded(&folder, || error_of_model(&folder));
        // The context alone is in no tensor.
        assert_eq!(loaded.is_ok(), field == "max_position_embeddings", "{what}: {loaded:?}");
    }
}

#[test]
fn indices() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    std::fs::rename(folder.join("model.safetensors"), folder.join("part-1.safetensors")).unwrap();
    let index = folder.join("model.safetensors.index.json");
    let part = json!("part-1.safetensors");
    let good = json!({"metadata": {"total_size": 1}, "weight_map": {"lm_head.weight": part, "model.norm.weight": part}});
    let text = serde_json::to_string_pretty(&good).unwrap();
    std::fs::write(&index, &text).unwrap();
    assert_eq!(error_of_model(&folder), Ok(()));
    for content in garbled(&text) {
        std::fs::write(&index, &content).unwrap();
        let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
        refused(&folder, &shown, &["model.safetensors.index.json"], || error_of_model(&folder));
    }
    std::fs::create_dir(folder.join("folder")).unwrap();
    let with = |name: Value| json!({"weight_map": {"lm_head.weight": name, "model.norm.weight": part}});
    let (of_index, map) = ("model.safetensors.index.json", "weight_map");
    for (content, words) in [
        (json!([]), [of_index, map]),
        (json!(5), [of_index, map]),
        (json!({}), [of_index, map]),
        (json!({"weight_map": null}), [of_index, map]),
        (json!({"weight_map": []}), [of_index, map]),
        (json!({"weight_map": "part-1.safetensors"}), [of_index, map]),
        (json!({"weight_map": 7}), [of_index, map]),
        (json!({"weight_map": {}}), [of_index, map]),
        (with(json!(null)), [of_index, map]),
        (with(json!(1)), [of_index, map]),
        (with(json!([part])), [of_index, map]),
        (with(json!({"file": part})), [of_index, map]),
        (with(json!("")), [of_index, map]),
        (with(json!(".")), [of_index, map]),
        (with(json!("..")), [of_index, map]),
        (with(json!("/etc/passwd")), [of_index, map]),
        (with(json!("../part-1.safetensors")), [of_index, map]),
        (with(json!("folder/part-1.safetensors")), [of_index, map]),
        (with(json!("part-1\0.safetensors")), ["part-1", "safetensors"]),
        (with(json!("part-2.safetensors")), ["part-2.safetensors", "cannot read"]),
        (with(json!("folder")), ["folder", "cannot read"]),
        (with(json!("x".repeat(10_000))), ["xxxx", "cannot read"]),
        (with(json!("config.json")), ["config.json", ""]),
    ] {
        std::fs::write(&index, content.to_string()).unwrap();
        let what: String = content.to_string().chars().take(200).collect();
        refused(&folder, &what, &words, || {
            error_of_model(&folder).map_err(|error| error.replace(&"x".repeat(9_000), "…"))
        });
    }
}
