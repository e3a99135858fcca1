//! Broken checkpoints: an error that names the file and the tensor or field, no panic, no huge allocation.
use std::path::{Path, PathBuf};

use eft_models::{Checkpoint, DecoderSpec, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

fn golden(family: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", family].iter().collect()
}

/// A copy of a checkpoint, to be damaged.
fn copy(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden(family).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let file = folder.join("config.json");
    let mut value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(file, value.to_string()).unwrap();
}

/// Opens a checkpoint and reads every tensor that its configuration names.
fn read_all(folder: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(folder)?;
    let spec = checkpoint.spec();
    checkpoint.tensor(&format!("{}.weight", spec.embedding), &[spec.vocab, spec.hidden])?;
    for layer in &spec.layers {
        if let Some(norm) = &layer.attention_norm {
            checkpoint.tensor(&format!("{}.weight", norm.name), &[norm.width])?;
        }
        for linear in layer.linears().into_iter().rev() {
            checkpoint.tensor(&format!("{}.weight", linear.name), &linear.stored_shape())?;
        }
    }
    Ok(())
}

#[test]
fn a_wrong_field_is_named() {
    let quantised = |settings: Value| ("qwen2-gptq", "quantization_config", settings);
    let compressed = |format: &str, weights: Value| {
        let groups = json!({"group_0": {"weights": weights}});
        quantised(json!({"quant_method": "compressed-tensors", "format": format, "config_groups": groups}))
    };
    let cases: [(&str, &str, Value); 55] = [
        ("llama", "hidden_size", Value::Null),
        ("llama", "hidden_size", json!(0)),
        ("llama", "hidden_size", json!(1u64 << 40)),
        ("llama", "num_hidden_layers", json!(1 << 23)),
        ("gpt2", "n_layer", json!(1 << 23)),
        ("llama", "vocab_size", json!("many")),
        ("llama", "num_attention_heads", json!(3)),
        ("llama", "hidden_act", json!("softsign")),
        ("llama", "rope_parameters", json!({"rope_type": "spiral"})),
        ("llama-yarn", "rope_parameters", json!({"rope_type": "yarn", "factor": -1})),
        ("llama-linear", "partial_rotary_factor", json!(0.5)),
        ("phi3-long", "rope_parameters", json!({"rope_type": "longrope"})),
        ("phi3-long", "rope_parameters", json!({"rope_type": "longrope", "short_factor": [1, 2, 3]})),
        ("phi3-long", "rope_parameters", json!({"rope_type": "longrope", "short_factor": [1, 2, 3, 0]})),
        ("phi3-long", "rope_parameters", json!({"rope_type": "longrope", "short_factor": [1, 2, 3, 4]})),
        ("llama-dynamic", "rope_parameters", json!({"rope_type": "dynamic", "factor": 0.5})),
        ("llama-dynamic", "rope_parameters", json!({"rope_type": "dynamic"})),
        ("llama3", "rope_parameters", json!({"rope_type": "llama3"})),
        ("qwen2", "eos_token_id", json!([1, "two"])),
        ("falcon", "alibi", json!(true)),
        ("gemma3", "layer_types", json!([1, 2, 3])),
        ("cohere2", "layer_types", json!(["chunked_attention", "full_attention"])),
        ("ministral", "layer_types", json!(["full_attention"])),
        ("cohere", "use_qk_norm", json!(true)),
        ("granite", "logits_scaling", json!(0)),
        ("smollm3", "no_rope_layers", json!([1, 0])),
        ("opt", "do_layer_norm_before", json!(false)),
        ("opt", "layer_norm_elementwise_affine", json!(false)),
        ("opt", "_remove_final_layer_norm", json!(true)),
        ("opt", "word_embed_proj_dim", json!(16)),
        ("mixtral", "num_experts_per_tok", json!(5)),
        ("mixtral", "num_experts", json!(1 << 20)),
        ("llama4", "layer_types", json!(["sliding_attention", "full_attention", "full_attention"])),
        ("llama4", "layer_types", json!(["full_attention"])),
        ("llama4", "no_rope_layers", json!([1, 0])),
        ("llama4", "num_experts_per_tok", json!(5)),
        ("llama4", "num_local_experts", json!(1 << 20)),
        ("llama4", "attention_chunk_size", json!(0)),
        ("llama4", "head_dim", Value::Null),
        ("gpt-oss", "head_dim", Value::Null),
        ("gpt-oss", "rope_parameters", Value::Null),
        ("gpt-oss", "swiglu_limit", json!(-1.0)),
        ("gpt-oss", "num_experts_per_tok", json!(5)),
        ("gpt-oss", "layer_types", json!(["chunked_attention", "full_attention"])),
        ("gemma3", "model_type", json!("gemma3n_text")),
        quantised(json!({"quant_method": "quanto", "weights": "int4"})),
        quantised(json!({"quant_method": "gptq", "bits": 3})),
        quantised(json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})),
        quantised(json!({"quant_method": "awq", "bits": 4, "version": "gemv"})),
        quantised(json!({"quant_method": "bitsandbytes", "bnb_4bit_quant_storage": "bfloat16"})),
        quantised(json!({"quant_method": "fp8", "weight_block_size": [128]})),
        compressed("nvfp4-pack-quantized", json!({"num_bits": 8})),
        compressed("mxfp6-pack-quantized", json!({"num_bits": 6})),
        compressed("int-quantized", json!({"num_bits": 8, "symmetric": false})),
        compressed("int-quantized", json!({"num_bits": 8, "strategy": "token"})),
    ];
    for (family, field, value) in cases {
        let folder = copy(family);
        config(folder.path(), |c| c[field] = value.clone());
        match Checkpoint::open(folder.path()).map(drop) {
            Err(Error::Config { file, field: found, .. }) => {
                assert!(file.ends_with("config.json"));
                assert!(found.starts_with(field) || field == "rope_parameters", "{field}: {found}");
            }
            other => panic!("{field} = {value}: {other:?}"),
        }
    }
}

#[test]
fn fields_of_older_files_mean_the_same() {
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16});
    for (family, older) in [
        ("gpt-neox", json!({"rotary_pct": 0.25, "rotary_emb_base": 10_000})),
        ("gpt-neox", json!({})),
        ("phi4", json!({"rope_theta": 10_000.0, "partial_rotary_factor": 0.75})),
        ("olmo3", json!({"rope_theta": 10_000.0, "rope_scaling": yarn})),
        ("cohere2", json!({"rope_theta": 10_000.0})),
    ] {
        let folder = copy(family);
        let today = Checkpoint::open(folder.path()).unwrap().spec().clone();
        config(folder.path(), |c| {
            c.as_object_mut().unwrap().remove("rope_parameters").expect("a field of today");
            c.as_object_mut().unwrap().extend(older.as_object().unwrap().clone());
        });
        assert_eq!(Checkpoint::open(folder.path()).unwrap().spec(), &today, "{family}: {older}");
    }
}

#[test]
fn a_window_that_is_absent_is_the_default_and_null_is_none() {
    for family in ["mistral", "ministral", "cohere2", "olmo3"] {
        let folder = copy(family);
        let window = || Checkpoint::open(folder.path()).unwrap().spec().layers[0].attention.window;
        assert_eq!(window(), Some(6));
        config(folder.path(), |c| drop(c.as_object_mut().unwrap().remove("sliding_window")));
        assert_eq!(window(), Some(4096), "{family}");
        config(folder.path(), |c| c["sliding_window"] = Value::Null);
        assert_eq!(window(), None, "{family}");
    }
}

#[test]
fn ids_that_no_token_has_are_left_out() {
    let folder = copy("llama");
    for ids in [json!([2, -1]), json!([2, 96, 4_294_967_295u32]), json!([2, 1u64 << 40])] {
        config(folder.path(), |c| c["eos_token_id"] = ids.clone());
        assert_eq!(Checkpoint::open(folder.path()).unwrap().spec().eos, [2], "{ids}");
    }
}

#[test]
fn a_saved_head_that_differs_from_the_embedding_is_used_and_named() {
    let untied = Checkpoint::open(golden("llama-untied")).unwrap();
    assert!(untied.spec().head.is_some());
    let [warning] = untied.warnings() else { panic!("{:?}", untied.warnings()) };
    assert_eq!(warning.field, "tie_word_embeddings");
    assert!(warning.finding.contains("lm_head.weight"), "{warning}");

    // A head that equals the embedding is tied to it, and one of them may be missing.
    let bytes = std::fs::read(golden("llama3").join("model.safetensors")).unwrap();
    let embedding = "model.embed_tokens.weight";
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for kept in [true, false] {
        let folder = copy("llama3");
        let mut all: Vec<_> =
            tensors.tensors().into_iter().filter(|(name, _)| kept || name != embedding).collect();
        all.push(("lm_head.weight".into(), tensors.tensor(embedding).unwrap()));
        std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(all, None).unwrap())
            .unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert!(checkpoint.spec().head.is_none() && checkpoint.warnings().is_empty());
        let raw = checkpoint.tensor(embedding, &[96, 32]).unwrap();
        assert_eq!(raw.bytes, tensors.tensor(embedding).unwrap().data());
    }
}

#[test]
fn an_unknown_architecture_is_refused_with_the_known_ones() {
    let folder = copy("llama");
    config(folder.path(), |c| c["model_type"] = json!("mamba"));
    match DecoderSpec::read(folder.path().join("config.json")) {
        Err(Error::UnknownArchitecture { found, known, .. }) => {
            assert_eq!(found, "mamba");
            assert!(known.contains("llama") && known.contains("gemma3_text"));
        }
        other => panic!("{other:?}"),
    }
}

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

#[test]
fn weights_are_read_from_the_only_file_of_pytorch() {
    let bytes = golden("qwen2-torch").join("pytorch_model-00001-of-00002.bin");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("qwen2").join("config.json"), folder.path().join("config.json")).unwrap();
    std::fs::copy(&bytes, folder.path().join("model.pth")).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let original = Checkpoint::open(golden("qwen2")).unwrap();
    let weight =
        |checkpoint: &Checkpoint| checkpoint.tensor("model.embed_tokens.weight", &[96, 32]).unwrap().bytes;
    assert_eq!(weight(&checkpoint), weight(&original));
    // With two such files, none of them is chosen.
    std::fs::copy(&bytes, folder.path().join("optimizer.pth")).unwrap();
    match Checkpoint::open(folder.path()).map(drop) {
        Err(Error::Io { file, .. }) => assert!(file.ends_with("model.safetensors")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_file_is_named() {
    assert!(matches!(Checkpoint::open("/nowhere"), Err(Error::Io { .. })));
    let folder = copy("llama");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    match Checkpoint::open(folder.path()) {
        Err(Error::Io { file, .. }) => assert!(file.ends_with("model.safetensors")),
        other => panic!("{other:?}"),
    }
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(matches!(Checkpoint::open(folder.path()), Err(Error::BadFile { .. })));
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let folder = copy("llama");
    config(folder.path(), |c| c["intermediate_size"] = json!(47));
    match read_all(folder.path()) {
        Err(Error::BadTensor { tensor, reason, .. }) => {
            assert_eq!(tensor, "model.layers.0.mlp.down_proj.weight");
            assert!(reason.contains("[32, 48]") && reason.contains("[32, 47]"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    config(folder.path(), |c| {
        c["intermediate_size"] = json!(48);
        c["num_hidden_layers"] = json!(4);
    });
    match read_all(folder.path()) {
        Err(Error::BadTensor { tensor, reason, .. }) => {
            assert_eq!((&tensor[..], &reason[..]), ("model.layers.3.input_layernorm.weight", "is missing"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn extended_contexts_reach_as_far_as_the_files_say() {
    let context = |family: &str| DecoderSpec::read(golden(family).join("config.json")).unwrap().context;
    assert_eq!((context("phi3"), context("phi3-long"), context("llama-yarn")), (128, 128, 128));
    // Files of Qwen state the original context, and that it is extended by a factor.
    let folder = copy("llama-yarn");
    config(folder.path(), |c| c["max_position_embeddings"] = json!(16));
    assert_eq!(Checkpoint::open(folder.path()).unwrap().spec().context, 64);
    assert_eq!(context("llama-dynamic"), 512);
}

#[test]
fn shards_are_read_and_a_missing_one_is_named() {
    let folder = copy("llama");
    let path = folder.path();
    std::fs::rename(path.join("model.safetensors"), path.join("part-1.safetensors")).unwrap();
    let index = |map: Value| {
        let index = json!({"metadata": {}, "weight_map": map}).to_string();
        std::fs::write(path.join("model.safetensors.index.json"), index).unwrap();
    };
    index(json!({"lm_head.weight": "part-1.safetensors", "model.norm.weight": "part-1.safetensors"}));
    read_all(path).unwrap();
    index(json!({"lm_head.weight": "part-2.safetensors"}));
    match Checkpoint::open(path) {
        Err(Error::Io { file, .. }) => assert!(file.ends_with("part-2.safetensors")),
        other => panic!("{other:?}"),
    }
    for outside in ["../part-1.safetensors", "/etc/passwd", ".."] {
        index(json!({"lm_head.weight": outside}));
        assert!(matches!(Checkpoint::open(path), Err(Error::BadFile { .. })), "{outside}");
    }
}

#[test]
fn a_truncated_file_says_so() {
    let folder = copy("llama");
    let file = folder.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let reason = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        match Checkpoint::open(folder.path()).map(drop) {
            Err(Error::BadFile { file: named, reason }) => {
                assert_eq!(named, file);
                reason
            }
            other => panic!("{other:?}"),
        }
    };
    let (length, short) = (whole.len(), whole.len() - 1000);
    assert_eq!(reason(&whole[..short]), format!("it is truncated: it has {short} bytes of {length}"));
    assert!(reason(&whole[..100]).starts_with("it is truncated: its header ends at byte "));
    assert!(reason(&whole[..5]).starts_with("it is truncated: it has 5 bytes"));
    assert!(reason(b"").starts_with("it is truncated: it has 0 bytes"));
    let longer = [&whole[..], b"more"].concat();
    assert_eq!(reason(&longer), format!("it has {} bytes, but its header describes {length}", length + 4));
    assert!(reason(b"<!DOCTYPE html><html>").starts_with("it is not a valid safetensors file"));
}

#[test]
fn an_adapter_given_as_a_model_is_named_as_such() {
    match Checkpoint::open(golden("qwen2-lora")).map(drop) {
        Err(error @ Error::AdapterFolder { .. }) => {
            let message = error.to_string();
            assert!(message.contains("qwen2-lora") && message.contains("Loader::adapter"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_do_not_repeat_their_source() {
    let error = Checkpoint::open("/nowhere").unwrap_err();
    let source = std::error::Error::source(&error).expect("the error of the system").to_string();
    assert!(!error.to_string().contains(&source), "{error}");
}

#[test]
fn checkpoints_in_memory_are_those_that_are_mapped() {
    let (mapped, read) =
        (Checkpoint::open(golden("qwen2")).unwrap(), Checkpoint::open_in_memory(golden("qwen2")).unwrap());
    let weight = |checkpoint: &Checkpoint| checkpoint.tensor("model.norm.weight", &[32]).unwrap().bytes;
    assert_eq!(weight(&mapped), weight(&read));
    assert_eq!((mapped.bytes(), mapped.spec()), (read.bytes(), read.spec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(
        cut in prop::option::of(0usize..40_000),
        flips in prop::collection::vec((0usize..8_000, any::<u8>()), 0..4),
    ) {
        let folder = copy("qwen2");
        let file = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let untouched = bytes.clone();
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        for (at, with) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
        }
        std::fs::write(&file, &bytes).unwrap();
        let read = read_all(folder.path());
        prop_assert!(read.is_ok() || bytes != untouched);
        if cut.is_some_and(|cut| cut < untouched.len()) {
            prop_assert!(read.is_err(), "a truncated file was accepted");
        }
    }

    #[test]
    fn damaged_configurations_never_panic(at in 0usize..1000, with in any::<u8>(), number in any::<i64>(), field in 0usize..30) {
        for family in ["llama3", "gemma3", "falcon", "gpt2", "cohere2", "qwen3-moe", "gpt-oss", "opt", "qwen2-gptq"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::copy(golden(family).join("config.json"), folder.path().join("config.json")).unwrap();
            config(folder.path(), |c| {
                let fields: Vec<_> = c.as_object().unwrap().keys().cloned().collect();
                c[&fields[field % fields.len()]] = json!(number);
            });
            let _ = DecoderSpec::read(folder.path().join("config.json"));
            let file = folder.path().join("config.json");
            let mut bytes = std::fs::read(golden(family).join("config.json")).unwrap();
            let length = bytes.len();
            bytes[at % length] = with;
            std::fs::write(&file, bytes).unwrap();
            let _ = DecoderSpec::read(file);
        }
    }
}
