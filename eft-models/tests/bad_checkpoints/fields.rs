//! Fields of `config.json`: wrong ones, and those of older files.
use eft_models::{Checkpoint, DecoderSpec, Error};
use serde_json::{Value, json};

use super::{config, copy, golden};

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
