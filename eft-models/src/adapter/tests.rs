//! Tests of what adapters are refused and accepted.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::peft::{CONFIG, PeftAdapter, TENSORS};
use super::*;
use crate::Error;
use crate::tensors::RawTensor;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", name].iter().collect()
}

/// An adapter with another configuration than its own.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<PeftAdapter> {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read(golden(name).join(CONFIG)).unwrap();
    let mut config = serde_json::from_slice(&text).unwrap();
    change(&mut config);
    std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    std::fs::copy(golden(name).join(TENSORS), folder.path().join(TENSORS)).unwrap();
    PeftAdapter::open(folder.path())
}

/// A linear layer of the tiny Qwen2.
fn linear(name: &str) -> LinearSpec {
    let spec = crate::DecoderSpec::read(golden("qwen2").join("config.json")).unwrap();
    spec.linears().into_iter().find(|linear| linear.name == name).unwrap().clone()
}

/// The rank and scale of a layer's change.
fn change(adapter: &PeftAdapter, name: &str) -> Result<Option<(usize, f32)>> {
    Ok(adapter.low_rank(&linear(name))?.map(|low_rank| (low_rank.down.shape[0], low_rank.scale)))
}

#[test]
fn the_first_pattern_of_the_file_that_matches_counts() {
    let adapter = PeftAdapter::open(&golden("qwen2-patterns-lora")).unwrap();
    let change = |name: &str| change(&adapter, name).unwrap();
    // `v_proj` comes before `self_attn.v_proj`, which comes first in the alphabet: alpha is 7, not 20.
    assert_eq!(change("model.layers.0.self_attn.v_proj"), Some((2, 7.0 / 2.0)));
    assert_eq!(change("model.layers.2.self_attn.q_proj"), Some((3, 9.0 / 3.0)));
    assert_eq!(change("model.layers.0.mlp.down_proj"), Some((5, 6.0 / 5.0)));
    // By the look-ahead of `target_modules`, and by `exclude_modules`.
    assert_eq!(change("model.layers.1.self_attn.v_proj"), None);
    assert_eq!(change("model.layers.2.mlp.down_proj"), None);
}

#[test]
fn layers_are_selected_by_number() {
    let adapter = PeftAdapter::open(&golden("qwen2-layers-rslora")).unwrap();
    let change = |name: &str| change(&adapter, name).unwrap();
    assert_eq!(change("model.layers.0.self_attn.o_proj"), Some((2, 5.0 / 2.0f32.sqrt())));
    assert_eq!(change("model.layers.2.self_attn.o_proj"), Some((4, 5.0 / 2.0)));
    assert_eq!(change("model.layers.1.self_attn.o_proj"), None);
    assert_eq!(change("model.layers.2.mlp.gate_proj"), None);
    // Without a name, the first number in a module's name is the layer's.
    let unnamed = changed("qwen2-layers-rslora", |config| config["layers_pattern"] = Value::Null).unwrap();
    assert!(self::change(&unnamed, "model.layers.1.self_attn.o_proj").unwrap().is_none());
    assert!(self::change(&unnamed, "model.layers.2.self_attn.o_proj").unwrap().is_some());
}

#[test]
fn tensors_and_configuration_must_agree() {
    let name = "model.layers.0.self_attn.q_proj";
    for (field, value) in [
        ("exclude_modules", json!(["q_proj"])),
        ("target_modules", json!(["v_proj"])),
        ("target_modules", json!("q_proj")),
        ("layers_to_transform", json!(1)),
    ] {
        let adapter = changed("qwen2-lora", |config| config[field] = value.clone()).unwrap();
        match change(&adapter, name) {
            Err(Error::BadTensor { reason, .. }) => {
                assert!(reason.contains("does not select"), "{reason}")
            }
            other => panic!("{field} = {value}: {other:?}"),
        }
    }
    for (golden, field, value, name, expected) in [
        ("qwen2-lora", "use_dora", json!(true), name, "is missing, although"),
        ("qwen2-dora", "use_dora", json!(false), name, "does not ask for it"),
        ("qwen2-lora", "lora_bias", json!(true), name, "is missing, although"),
    ] {
        let adapter = changed(golden, |config| config[field] = value.clone()).unwrap();
        match change(&adapter, name) {
            Err(Error::BadTensor { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{field} = {value}: {other:?}"),
        }
    }
    let saved = |modules: Value, name: &str| {
        let adapter = changed("qwen2-saved-lora", |config| config["modules_to_save"] = modules).unwrap();
        adapter.saved(name, "weight", &[32]).map(|tensor| tensor.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(saved(json!(["norm"]), "model.norm"), Ok(true));
    assert_eq!(saved(json!(null), "model.layers.0.self_attn.q_proj"), Ok(false));
    assert!(saved(json!(["k_proj"]), "model.norm").is_err_and(|error| error.contains("does not save")));
    assert!(saved(json!(["proj"]), "q_proj").is_err_and(|error| error.contains("is missing, although")));
    let adapter = changed("qwen2-lora", |config| config["target_modules"] = json!("ALL-linear")).unwrap();
    assert!(change(&adapter, name).unwrap().is_some());
    match change(&adapter, "model.layers.0.mlp.up_proj") {
        Err(Error::BadTensor { reason, .. }) => assert!(reason.starts_with("is missing"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_base_is_refused() {
    let adapter = PeftAdapter::open(&golden("qwen2-outer-lora")).unwrap();
    let base = crate::Checkpoint::open(golden("qwen2")).unwrap();
    let name = "model.embed_tokens";
    let own = || base.tensor("model.embed_tokens.weight", &[96, 32]);
    assert!(adapter.check_base(name, own).is_ok());
    let changed = || Ok(own()?.reordered((0..96).rev()));
    match adapter.check_base(name, changed) {
        Err(Error::BadTensor { tensor, .. }) => {
            assert!(tensor.ends_with("embed_tokens.base_layer.weight"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_supported_is_refused_by_its_field() {
    for (field, value) in [
        ("target_modules", json!("(")),
        ("exclude_modules", json!("[a&&b]")),
        ("exclude_modules", json!(3)),
        ("rank_pattern", json!({"q_proj": 0})),
        ("rank_pattern", json!({"q_proj)(": 2})),
        ("alpha_pattern", json!({"q_proj": "two"})),
        ("alpha_pattern", json!([1])),
        ("layers_to_transform", json!(["first"])),
        ("layers_pattern", json!("layers")),
        ("alora_invocation_tokens", json!([1, 2])),
        ("layer_replication", json!([[0, 2], [1, 3]])),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("trainable_token_indices", json!([3, -1])),
        ("trainable_token_indices", json!([3, 5, 3])),
        ("trainable_token_indices", json!({"embed_tokens": 3})),
        ("use_qalora", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("OLoRA")),
        ("init_lora_weights", json!("corda")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("of next year")),
        ("init_lora_weights", json!(3)),
    ] {
        match changed("qwen2-lora", |config| config[field] = value.clone()).map(drop) {
            Err(Error::Config { field: found, .. }) => assert_eq!(found, field, "{value}"),
            other => panic!("{field} = {value}: {other:?}"),
        }
    }
    for value in [json!(false), json!("gaussian"), json!("eva"), json!("orthogonal"), Value::Null] {
        assert!(
            changed("qwen2-lora", |config| config["init_lora_weights"] = value.clone()).is_ok(),
            "{value}"
        );
    }
    let both = changed("qwen2-lora", |config| {
        config["target_modules"] = json!(".*q_proj");
        config["layers_to_transform"] = json!([0]);
    });
    assert!(matches!(both, Err(Error::Config { field, .. }) if field == "layers_to_transform"));
}

/// Reads all that an adapter has for the tiny Qwen2.
fn read_all(adapter: &Adapter) -> Result<()> {
    let spec = crate::DecoderSpec::read(golden("qwen2").join("config.json")).unwrap();
    let base = crate::Checkpoint::open(golden("qwen2")).unwrap();
    adapter.check(&spec)?;
    let head = spec.output_head();
    let weight = |name: &str| format!("{}.weight", if name == head.name { &spec.embedding } else { name });
    for linear in spec.linears().into_iter().chain([&head]) {
        let own = || base.tensor(&weight(&linear.name), &linear.stored_shape());
        adapter.linear(&spec, linear, &own)?;
    }
    for norm in spec.norms() {
        adapter.norm(norm)?;
    }
    let own = || base.tensor(&weight(&spec.embedding), &[spec.vocab, spec.hidden]);
    adapter.embedding(&spec, &own).map(drop)
}

/// Adds up adapters, and returns the error.
fn refused(parts: Vec<(Adapter, f32)>) -> String {
    match read_all(&Adapter::sum("sum", parts)) {
        Err(Error::BadTensor { file, reason, .. }) => {
            assert!(file.ends_with(TENSORS), "{file:?}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// An adapter with other bytes in one of its files is read or refused, with an error that names the file.
    #[test]
    fn damaged_adapters_do_not_panic(
        which in 0usize..4,
        of_config in any::<bool>(),
        at in 0usize..100_000,
        bytes in prop::collection::vec(any::<u8>(), 1..9),
        cut in any::<bool>(),
    ) {
        let name = ["qwen2-lora", "qwen2-dora", "qwen2-saved-lora", "qwen2-tokens-lora"][which];
        let folder = tempfile::tempdir().unwrap();
        for file in [CONFIG, TENSORS] {
            let mut content = std::fs::read(golden(name).join(file)).unwrap();
            if (file == CONFIG) == of_config {
                // Most of the tensors' file is numbers, so its header is damaged half the time.
                let at = if bytes[0] % 2 == 0 { at % 900 } else { at % content.len() };
                let end = (at + bytes.len()).min(content.len());
                content[at..end].copy_from_slice(&bytes[..end - at]);
                if cut {
                    content.truncate(at);
                }
            }
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        if let Err(error) = Adapter::open(folder.path()).and_then(|adapter| read_all(&adapter)) {
            let error = error.to_string();
            prop_assert!(error.contains(&*folder.path().to_string_lossy()), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_added_is_refused_by_name() {
    let open = |name: &str| Adapter::open(golden(name)).unwrap();
    let [lora, dora, saved, tokens] =
        ["qwen2-lora", "qwen2-dora", "qwen2-saved-lora", "qwen2-tokens-lora"].map(|name| move || open(name));
    let q_proj = "model.layers.0.self_attn.q_proj";
    assert_eq!(
        refused(vec![(lora(), 1.0), (dora(), 1.0)]),
        format!(
            "`qwen2-dora` changes by DoRA `{q_proj}`, which cannot be added to the change by `qwen2-lora`"
        )
    );
    assert_eq!(
        refused(vec![(dora(), 0.5)]),
        format!(
            "`qwen2-dora` changes by DoRA `{q_proj}`, which is possible with the weight 1 only, not with 0.5"
        )
    );
    let two_heads = refused(vec![(saved().named("one"), 1.0), (saved().named("other"), 1.0)]);
    assert!(
        two_heads.starts_with("`one` replaces `model.layers.0.self_attn.k_proj`, which cannot"),
        "{two_heads}"
    );
    let weighted = refused(vec![(tokens(), 0.5), (lora(), 0.5)]);
    assert!(
        weighted.starts_with("`qwen2-tokens-lora` replaces rows of `lm_head`, which is possible"),
        "{weighted}"
    );
    assert!(refused(vec![(lora(), f32::NAN)]).contains("has the weight NaN"));
    // The weights of a sum within a sum are multiplied.
    let inner = Adapter::sum("inner", [(dora(), 0.5)]);
    assert!(refused(vec![(inner, 3.0)]).ends_with("not with 1.5"));
}

#[test]
fn rows_of_tokens_must_agree_with_the_configuration() {
    let spec = crate::DecoderSpec::read(golden("qwen2").join("config.json")).unwrap();
    for (tokens, expected) in [
        (json!([90, 5]), "has shape [3, 32]; expected [2, 32]"),
        (json!([90, 5, 96]), "has a row for the token 96, but the vocabulary ends at 96"),
        (Value::Null, "is there, but adapter_config.json lists no tokens for it"),
        (json!({"embed_tokens": [90, 5, 9], "lm_head": [4]}), ""),
        (json!({"lm_head": [90, 5, 9]}), "lists no tokens for it"),
    ] {
        let adapter =
            changed("qwen2-tokens-lora", |config| config["trainable_token_indices"] = tokens.clone());
        let adapter = adapter.unwrap();
        let own = || -> Result<RawTensor<'static>> { panic!("the base is not read") };
        match adapter.embedding(&spec, &own) {
            Ok(Some(StoredChange::Rows { tokens, .. })) if expected.is_empty() => {
                assert_eq!(tokens, [90, 5, 9])
            }
            Err(Error::BadTensor { reason, .. }) => assert!(reason.contains(expected), "{tokens}: {reason}"),
            other => panic!("{tokens}: {other:?}"),
        }
    }
    let missing = changed("qwen2-lora", |config| config["trainable_token_indices"] = json!([1])).unwrap();
    let own = || -> Result<RawTensor<'static>> { panic!("the base is not read") };
    let error = missing.embedding(&spec, &own).unwrap_err().to_string();
    assert!(error.contains("is missing, although adapter_config.json lists tokens for it"), "{error}");
}
