//! Quantised weights.
use std::path::Path;

use eft_models::{Checkpoint, Error};
use serde_json::{Value, json};

use super::{config, copy, golden, read_all};

/// A copy of a checkpoint without the tensor of this name.
fn without(family: &str, name: &str) -> tempfile::TempDir {
    let folder = copy(family);
    let file = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    assert!(tensors.iter().any(|(other, _)| other == name), "{name}");
    let kept = tensors.into_iter().filter(|(other, _)| other != name);
    std::fs::write(&file, safetensors::serialize(kept, None).unwrap()).unwrap();
    folder
}

#[test]
fn faults_of_quantised_weights_are_named() {
    let layer = "model.layers.0.mlp.down_proj";
    let fault = |folder: &Path| match read_all(folder) {
        Err(Error::BadTensor { tensor, reason, .. }) => format!("{tensor} {reason}"),
        other => panic!("{other:?}"),
    };
    for (family, part, first) in [
        ("qwen2-gptq", "scales", "qweight"),
        ("qwen2-gptq", "qzeros", "qweight"),
        ("qwen2-awq", "scales", "qweight"),
        ("qwen2-awq", "qzeros", "qweight"),
        ("qwen2-fp8", "weight_scale_inv", "weight"),
        ("qwen2-compressed-int8", "weight_scale", "weight"),
        ("qwen2-compressed-int4", "weight_scale", "weight_packed"),
        ("qwen2-compressed-nvfp4", "weight_scale", "weight_packed"),
        ("qwen2-compressed-nvfp4", "weight_global_scale", "weight_packed"),
        ("qwen2-bnb-int8", "SCB", "weight"),
        ("qwen2-bnb-fp4", "weight.absmax", "weight"),
        ("qwen2-bnb-fp4", "weight.quant_map", "weight"),
        ("qwen2-bnb-fp4", "weight.quant_state.bitsandbytes__fp4", "weight"),
        ("qwen2-bnb-nf4", "weight.nested_absmax", "weight"),
        ("qwen2-bnb-nf4", "weight.nested_quant_map", "weight"),
    ] {
        let folder = without(family, &format!("{layer}.{part}"));
        assert_eq!(fault(folder.path()), format!("{layer}.{first} has no `{part}` beside it"));
    }
    for (family, part) in [("qwen2-gptq", "qweight"), ("qwen2-compressed-int4", "weight_packed")] {
        let folder = without(family, &format!("{layer}.{part}"));
        assert_eq!(fault(folder.path()), format!("{layer}.weight is missing"));
    }
    for (family, settings, part) in [
        ("qwen2-awq", json!({"quant_method": "awq", "bits": 4, "group_size": 8}), "scales"),
        ("qwen2-gptq", json!({"quant_method": "gptq", "bits": 8}), "qweight"),
        ("qwen2-fp8", json!({"quant_method": "fp8", "weight_block_size": [4, 4]}), "weight_scale_inv"),
    ] {
        let folder = copy(family);
        config(folder.path(), |c| c["quantization_config"] = settings);
        let fault = fault(folder.path());
        assert!(fault.starts_with(&format!("{layer}.{part} has shape")), "{fault}");
    }
}

#[test]
fn faults_of_stacked_weights_are_named() {
    let name = "model.layers.1.mlp.experts.down_proj";
    let fault = |folder: &Path, shape: [usize; 3]| match Checkpoint::open(folder)
        .unwrap()
        .part(name, 3, &shape)
        .map(drop)
    {
        Err(Error::BadTensor { tensor, reason, .. }) => format!("{tensor} {reason}"),
        other => panic!("{other:?}"),
    };
    let shape = [4, 32, 32];
    let folder = without("gpt-oss-mxfp4", &format!("{name}_scales"));
    assert_eq!(fault(folder.path(), shape), format!("{name}_blocks has no `_scales` beside it"));
    let folder = without("gpt-oss-mxfp4", &format!("{name}_blocks"));
    assert_eq!(fault(folder.path(), shape), format!("{name} is missing"));
    let folder = golden("gpt-oss-mxfp4");
    assert!(fault(&folder, [4, 64, 32]).starts_with(&format!("{name}_blocks has shape [4, 32, 1, 16]")));
    assert!(fault(&folder, [4, 48, 32]).starts_with(&format!("{name}_blocks is of groups of 32")));
    // Without the method's name, bytes are not numbers.
    let folder = copy("gpt-oss-mxfp4");
    config(folder.path(), |c| c["quantization_config"] = Value::Null);
    assert_eq!(fault(folder.path(), shape), format!("{name} is missing"));
}

#[test]
fn stacked_weights_are_the_same_in_parts_and_as_blocks() {
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    let shape = [4, 32, 64];
    let open = || Checkpoint::open(golden("gpt-oss-mxfp4")).unwrap();
    let (stored, exact) = (open(), open().dequantised());
    let all = exact.tensor(name, &shape).unwrap();
    for index in 0..4 {
        let part = exact.part(name, index, &shape).unwrap();
        assert_eq!(part.bytes, all.bytes[index * part.bytes.len()..][..part.bytes.len()]);
        let blocks = stored.part(name, index, &shape).unwrap();
        assert_eq!((blocks.shape, blocks.bytes.len()), (vec![64, 32], 64 * 17));
    }
    // Four bytes instead of 17/32 for each of the weights of both stacked tensors of two layers.
    let entries = 2 * 4 * (32 * 64 + 32 * 32) as u64;
    assert_eq!(exact.bytes() - stored.bytes(), 4 * entries - entries / 32 * 17);
}

#[test]
fn faults_of_the_state_of_a_weight_are_named() {
    let name = "model.layers.0.mlp.down_proj.weight.quant_state.bitsandbytes__nf4";
    let fault = |from: &str, to: &str| {
        let folder = copy("qwen2-bnb-nf4");
        let file = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let state = tensors.tensor(name).unwrap().data().to_vec();
        let at = bytes.windows(state.len()).position(|window| window == state).unwrap();
        let within = state.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        assert_eq!(from.len(), to.len());
        bytes[at + within..][..to.len()].copy_from_slice(to.as_bytes());
        // Weights of equal shape have equal states but for the offset, so the changed one may be another's.
        std::fs::write(&file, bytes).unwrap();
        match read_all(folder.path()) {
            Err(Error::BadTensor { file, tensor, reason }) => {
                assert!(file.ends_with("model.safetensors") && tensor.contains("_proj.weight"), "{tensor}");
                reason
            }
            other => panic!("{from} → {to}: {other:?}"),
        }
    };
    assert!(fault("{", "[").contains("is not JSON"));
    assert!(fault("\"blocksize\": 64", "\"blocksize\": 00").contains("is not JSON"));
    assert!(fault("\"blocksize\": 64", "\"blocksize\": -1").contains("`blocksize` -1"));
    assert!(fault("\"blocksize\": 64", "\"blocksize\": 32").contains("entries; expected"));
    assert!(fault("\"nested_blocksize\": 8", "\"nested_blocksize\": 4").contains("entries; expected"));
    assert!(fault("\"nested_blocksize\"", "\"nested_blockbyte\"").contains("`nested_blocksize` null"));
    assert!(fault("\"nested_offset\"", "\"nested_offs__\"").contains("has no `nested_offset`"));
    assert!(fault("\"shape\": [32,", "\"shape\": [33,").contains("`shape` [33,"));
}
