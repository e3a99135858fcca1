//! Files of weights, and their indices.
use eft_models::{Checkpoint, DecoderSpec, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{config, copy, golden, read_all};

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
