//! `adapter_config.json`.
use std::path::Path;

use eft::models::{Adapter, Checkpoint, DecoderEngine};
use serde_json::{Value, json};

use super::memory::refused;
use super::*;

#[test]
fn configurations() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("eft-models/goldens");
    let dir = tempfile::tempdir().unwrap();
    let tensors = "adapter_model.safetensors";
    std::fs::copy(golden.join("qwen2-lora").join(tensors), dir.path().join(tensors)).unwrap();
    let base = Checkpoint::open(golden.join("qwen2")).unwrap();
    let read = || {
        let adapter = Adapter::open(dir.path()).map_err(|error| error.to_string())?;
        let nn = CandleNn::new(Candle::cpu());
        DecoderEngine::with_adapters(nn, &base, &[adapter], None).map(drop).map_err(|error| error.to_string())
    };
    let path = dir.path().join("adapter_config.json");
    let text = std::fs::read_to_string(golden.join("qwen2-lora/adapter_config.json")).unwrap();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(read(), Ok(()));
    for content in garbled(&text) {
        std::fs::write(&path, &content).unwrap();
        let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
        refused(dir.path(), &shown, &["adapter_config.json"], read);
    }
    let good: Value = serde_json::from_str(&text).unwrap();
    for other in [json!([]), json!(5), json!(null), json!("LORA"), json!({})] {
        std::fs::write(&path, other.to_string()).unwrap();
        refused(dir.path(), &other.to_string(), &["adapter_config.json", "peft_type"], read);
    }
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("peft_type", json!(5)),
        ("peft_type", json!(["LORA"])),
        ("r", json!(0)),
        ("r", json!(-3)),
        ("r", json!(1.5)),
        ("r", json!("three")),
        ("r", json!(null)),
        ("r", json!(1u64 << 40)),
        ("lora_alpha", json!("six")),
        ("lora_alpha", json!(null)),
        ("lora_alpha", json!([6])),
        ("lora_alpha", json!(1e300)),
        ("use_rslora", json!("yes")),
        ("use_dora", json!(1)),
        ("lora_bias", json!({})),
        ("bias", json!(true)),
        ("bias", json!("all")),
        ("target_modules", json!(5)),
        ("target_modules", json!([5])),
        ("target_modules", json!({"q_proj": 1})),
        ("target_modules", json!("(")),
        ("target_modules", json!("(".repeat(5000))),
        ("target_modules", json!("((((a{1000}){1000}){1000}){1000})")),
        ("exclude_modules", json!(true)),
        ("layers_to_transform", json!("all")),
        ("layers_to_transform", json!(-1)),
        ("layers_to_transform", json!([1e300])),
        ("layers_pattern", json!(5)),
        ("modules_to_save", json!("norm")),
        ("modules_to_save", json!([5])),
        ("rank_pattern", json!([])),
        ("rank_pattern", json!({"q_proj": -1})),
        ("rank_pattern", json!({"[": 2})),
        ("alpha_pattern", json!("q_proj")),
        ("alpha_pattern", json!({"q_proj": null})),
        ("trainable_token_indices", json!("all")),
        ("trainable_token_indices", json!([1u64 << 40])),
        ("layer_replication", json!([[0, 1u64 << 40]])),
        ("init_lora_weights", json!([])),
    ] {
        let mut config = good.clone();
        config[field] = value.clone();
        std::fs::write(&path, config.to_string()).unwrap();
        let what: String = format!("{field} = {value}").chars().take(200).collect();
        refused(dir.path(), &what, &["adapter_config.json", field], read);
    }
    // A rank that is not that of the tensors is an error of a tensor.
    let mut config = good.clone();
    config["r"] = json!(5);
    std::fs::write(&path, config.to_string()).unwrap();
    refused(dir.path(), "another rank", &[tensors, "lora_A.weight"], read);
}
