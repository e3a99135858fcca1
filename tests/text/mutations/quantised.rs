//! Folders with quantised weights.
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use super::memory::refused;
use super::tensor_files::error_of_model;

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "eft-models", "goldens", name].iter().collect()
}

/// The type, the shape and the bytes of a tensor.
type Content = (Dtype, Vec<usize>, Vec<u8>);

/// The tensors of a file, by their names.
type Tensors = Vec<(String, Content)>;

/// Checks that each change of a layer's tensors is an error that names one of the layer's, and that each change of the
/// settings is one that names the field.
fn check(name: &str, parts: &[&str], settings: &[(&str, Value)]) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let config: Value =
        serde_json::from_slice(&std::fs::read(golden(name).join("config.json")).unwrap()).unwrap();
    let good = std::fs::read(golden(name).join("model.safetensors")).unwrap();
    let weights = folder.join("model.safetensors");
    std::fs::write(&weights, &good).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    assert_eq!(error_of_model(folder), Ok(()));

    let tensors: Tensors = SafeTensors::deserialize(&good)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    let write = |tensors: &Tensors| {
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    let layer = "model.layers.0.mlp.down_proj";
    let mut count = 0;
    for part in parts {
        let part = format!("{layer}.{part}");
        let at = tensors.iter().position(|(name, _)| *name == part).unwrap_or_else(|| panic!("{part}"));
        let (dtype, shape, data) = tensors[at].1.clone();
        let width = data.len() / shape.iter().product::<usize>().max(1);
        let mut changes: Vec<(&str, Option<Content>)> = vec![
            ("missing", None),
            ("empty", Some((dtype, vec![0], Vec::new()))),
            ("of other bytes", Some((Dtype::U8, vec![3, data.len()], data.repeat(3)))),
            ("longer", Some((dtype, vec![2, data.len() / width], data.repeat(2)))),
            ("of another type", Some((Dtype::F64, vec![data.len()], data.repeat(8)))),
        ];
        // A single row or column may lie either way.
        if shape.len() > 1 {
            let turned = shape.iter().rev().copied().collect::<Vec<_>>();
            if turned != shape && !shape.contains(&1) {
                changes.push(("turned", Some((dtype, turned, data.clone()))));
            }
        }
        for (what, change) in changes {
            let mut tensors = tensors.clone();
            match change {
                None => drop(tensors.remove(at)),
                Some(change) => tensors[at].1 = change,
            }
            write(&tensors);
            let what = format!("{name}: {part} is {what}");
            refused(folder, &what, &["model.layers.0.mlp.down_proj."], || error_of_model(folder));
            count += 1;
        }
    }
    std::fs::write(&weights, &good).unwrap();
    for (field, value) in settings {
        let mut config = config.clone();
        config["quantization_config"][field] = value.clone();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        refused(folder, &format!("{name}: {field} = {value}"), &[field, "config.json"], || {
            error_of_model(folder)
        });
        count += 1;
    }
    assert!(count >= 20, "{name}: {count}");
}

#[test]
fn gptq() {
    check(
        "qwen2-gptq",
        &["qweight", "scales", "qzeros"],
        &[
            ("bits", json!(0)),
            ("bits", json!(3)),
            ("bits", json!("four")),
            ("bits", json!(null)),
            ("bits", json!(1u64 << 40)),
            ("group_size", json!(0)),
            ("group_size", json!(-2)),
            ("group_size", json!("all")),
            ("checkpoint_format", json!("marlin")),
            ("checkpoint_format", json!(2)),
            ("quant_method", json!("gptqq")),
            ("quant_method", json!(null)),
        ],
    );
}

#[test]
fn awq() {
    check(
        "qwen2-awq",
        &["qweight", "scales", "qzeros"],
        &[
            ("bits", json!(8)),
            ("bits", json!(-4)),
            ("bits", json!([4])),
            ("group_size", json!(0)),
            ("group_size", json!(1.5)),
            ("version", json!("gemv")),
            ("version", json!(4)),
            ("quant_method", json!(["awq"])),
        ],
    );
}

#[test]
fn bitsandbytes() {
    check(
        "qwen2-bnb-nf4",
        &[
            "weight.absmax",
            "weight.nested_absmax",
            "weight.nested_quant_map",
            "weight.quant_map",
            "weight.quant_state.bitsandbytes__nf4",
        ],
        &[("bnb_4bit_quant_storage", json!("bfloat16")), ("bnb_4bit_quant_storage", json!(8))],
    );
    check(
        "qwen2-bnb-int8",
        &["SCB", "weight"],
        &[
            ("quant_method", json!("bitsandbites")),
            ("quant_method", json!(8)),
            ("quant_method", json!({})),
            ("quant_method", json!(true)),
            ("bnb_4bit_quant_storage", json!([])),
            ("bnb_4bit_quant_storage", json!("")),
            ("bnb_4bit_quant_storage", json!("uint16")),
            ("bnb_4bit_quant_storage", json!(1e300)),
            ("bnb_4bit_quant_storage", json!({"a": 1})),
        ],
    );
}

#[test]
fn compressed_tensors() {
    let group = |weights: Value| json!({"group_0": {"weights": weights, "targets": ["Linear"]}});
    let settings = [
        ("format", json!("mxfp6-pack-quantized")),
        ("format", json!(null)),
        ("format", json!(8)),
        ("config_groups", json!(null)),
        ("config_groups", json!([])),
        ("config_groups", json!({})),
        ("config_groups", json!({"a": {}, "b": {}})),
        ("config_groups", json!({"a": 5})),
        ("config_groups", group(json!(null))),
        ("config_groups", group(json!([8]))),
        ("config_groups", group(json!({"num_bits": "eight"}))),
        ("config_groups", group(json!({"num_bits": 0}))),
        ("config_groups", group(json!({"num_bits": 8, "symmetric": false}))),
        ("config_groups", group(json!({"num_bits": 8, "symmetric": 1}))),
        ("config_groups", group(json!({"num_bits": 8, "strategy": "token"}))),
        ("config_groups", group(json!({"num_bits": 8, "strategy": 1}))),
    ];
    check("qwen2-compressed-int8", &["weight", "weight_scale"], &settings);
    check("qwen2-compressed-int4", &["weight_packed", "weight_scale"], &settings);
    check(
        "qwen2-fp8",
        &["weight", "weight_scale_inv"],
        &[
            ("weight_block_size", json!([128])),
            ("weight_block_size", json!([0, 128])),
            ("weight_block_size", json!([-1, 128])),
            ("weight_block_size", json!(["a", "b"])),
            ("weight_block_size", json!("wide")),
            ("weight_block_size", json!({})),
            ("weight_block_size", json!([1e300, 1])),
            ("expert_dtype", json!("fp4")),
            ("expert_dtype", json!(4)),
            ("quant_method", json!("fp7")),
        ],
    );
}

#[test]
fn files_of_quantised_weights() {
    let dir = tempfile::tempdir().unwrap();
    let folder: &Path = dir.path();
    std::fs::copy(golden("qwen2-gptq").join("config.json"), folder.join("config.json")).unwrap();
    let good = std::fs::read(golden("qwen2-gptq").join("model.safetensors")).unwrap();
    for (what, bytes, words) in super::tensor_files::broken(&good, "model.layers.0.mlp.down_proj.qweight") {
        std::fs::write(folder.join("model.safetensors"), &bytes).unwrap();
        let words: Vec<_> = words.iter().map(String::as_str).chain(["model.safetensors"]).collect();
        refused(folder, &what, &words, || error_of_model(folder));
    }
}
