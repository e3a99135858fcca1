//! Damaged files, made by hand and at random: an error names the file, and nothing panics.
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use eft_backend_candle::load_gguf;
use eft_models::{Error, Result};
use proptest::prelude::*;

use super::tiny::{Fields, Tensors, fields, tensors, with_vocab, write};
use crate::device::candle;

fn loaded(file: &Path) -> Result<()> {
    load_gguf(file, &candle()).map(drop)
}

/// Returns the error of loading a tiny Llama after a change.
fn error(change: impl FnOnce(&mut Fields, &mut Tensors)) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.gguf");
    let (mut fields, mut tensors) = (fields("llama"), tensors("llama"));
    change(&mut fields, &mut tensors);
    write(&file, &fields, &tensors, GgmlDType::F32);
    let error = loaded(&file).unwrap_err();
    assert!(error.to_string().contains("broken.gguf"), "{error}");
    error
}

fn set(name: &str, value: Value) -> impl FnOnce(&mut Fields, &mut Tensors) {
    move |fields, _| drop(fields.insert(name.into(), value))
}

#[test]
fn errors_name_the_field() {
    let text = |text: &str| Value::String(text.into());
    let cases = [
        ("llama.embedding_length", Value::U32(0)),
        ("llama.embedding_length", text("many")),
        ("llama.block_count", Value::U32(u32::MAX)),
        ("llama.attention.head_count", Value::Array(vec![Value::U32(4)])),
        ("llama.attention.head_count_kv", Value::I32(-1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)),
        ("llama.attention.value_length", Value::U32(9)),
        ("llama.rope.dimension_count", Value::U32(4)),
        ("llama.rope.scaling.type", text("spiral")),
        ("llama.rope.scaling.type", Value::U32(1)),
        ("llama.expert_count", Value::I32(-1)),
    ];
    for (name, value) in cases {
        match error(set(name, value)) {
            Error::Config { field, .. } => assert_eq!(field, name),
            other => panic!("{name}: {other}"),
        }
    }
    // With experts, it is a Mixtral.
    let missing = error(set("llama.expert_count", Value::U32(8)));
    assert!(
        matches!(&missing, Error::Config { field, .. } if field == "llama.expert_used_count"),
        "{missing}"
    );
    for name in ["general.architecture", "llama.context_length"] {
        let missing = error(|fields, _| drop(fields.remove(name)));
        assert!(matches!(&missing, Error::Config { field, .. } if field == name), "{missing}");
    }
    let unknown = error(set("general.architecture", text("mamba")));
    assert!(matches!(unknown, Error::UnknownArchitecture { found, .. } if found == "mamba"));
}

#[test]
fn inconsistent_vocabularies_are_refused() {
    let ends = "tokenizer.ggml.eos_token_id";
    let changed = |name: &str, value: Value| {
        let found = error(|fields, _| {
            *fields = with_vocab(std::mem::take(fields), "gpt2", &[]);
            fields.insert(name.into(), value);
        });
        assert!(matches!(&found, Error::Config { field, .. } if field == name), "{found}");
    };
    changed(ends, Value::F32(1.0));
    changed("tokenizer.ggml.token_type", Value::Array(vec![Value::I32(1)]));
    changed("tokenizer.ggml.tokens", Value::Array(vec![Value::I32(1); 96]));
    changed("tokenizer.ggml.tokens", Value::U32(1));
}

#[test]
fn errors_name_the_tensor() {
    let name = |error| match error {
        Error::BadTensor { tensor, .. } => tensor,
        other => panic!("{other}"),
    };
    let missing = |name: &'static str| error(move |_, tensors| drop(tensors.remove(name)));
    assert_eq!(name(missing("blk.1.attn_k.weight")), "blk.1.attn_k.weight");
    assert_eq!(name(missing("token_embd.weight")), "token_embd.weight");
    let narrow = error(|_, tensors| {
        let norm = tensors["output_norm.weight"].narrow(0, 0, 31).unwrap().force_contiguous().unwrap();
        tensors.insert("output_norm.weight".into(), norm);
    });
    assert_eq!(name(narrow), "output_norm.weight");
    let factors = error(|_, tensors| {
        let zeros = tensors["output_norm.weight"].narrow(0, 0, 4).unwrap().zeros_like().unwrap();
        tensors.insert("rope_freqs.weight".into(), zeros);
    });
    assert_eq!(name(factors), "rope_freqs.weight");
}

#[test]
fn types_that_are_not_supported_are_named_with_their_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.gguf");
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::F32);
    let bytes = std::fs::read(&file).unwrap();
    let name = b"blk.1.ffn_up.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 16;
    for (kind, shown) in [(24u32, "I8"), (31, "Q4_0_4_4"), (99, "99")] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        std::fs::write(&file, bytes).unwrap();
        match loaded(&file).unwrap_err() {
            Error::BadTensor { tensor, reason, .. } => {
                assert_eq!(tensor, "blk.1.ffn_up.weight");
                assert!(reason.contains(shown) && reason.contains("Q4_K, "), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn inconsistent_headers_are_refused() {
    // Candle would divide by zero.
    assert!(matches!(error(set("general.alignment", Value::U32(0))), Error::BadFile { .. }));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.gguf");
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = loaded(&file).unwrap_err();
        assert!(error.to_string().contains("broken.gguf"), "{error}");
    };
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::F32);
    let bytes = std::fs::read(&file).unwrap();
    let with = |at: usize, patch: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        bytes
    };
    let huge = u64::MAX.to_le_bytes();
    refused(&with(8, &huge)); // the number of tensors
    refused(&with(16, &huge)); // the number of fields
    refused(&with(24, &huge)); // the length of the first name
    refused(&with(4, &[1]));
    refused(b"");
    refused(b"GGUF");
    refused(&bytes[..bytes.len() - 4096]);
    // The dimensions of the first tensor, whose product overflows.
    let name = b"blk.0.attn_k.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4;
    refused(&with(at, &[0xFF; 16]));
    refused(&with(at, &[0; 16]));
    // Its offset.
    refused(&with(at + 20, &huge));
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(0xFF), Just(0x80), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn damaged_files_never_panic(
        patches in prop::collection::vec((0usize..6000, byte()), 1..6),
        cut in prop::option::weighted(0.2, 0usize..20_000),
    ) {
        use std::sync::OnceLock;
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("broken.gguf");
        let bytes = BYTES.get_or_init(|| {
            let tokens = [("Ġa", 1), ("<s>", 3)];
            write(&file, &with_vocab(fields("llama"), "gpt2", &tokens), &tensors("llama3"), GgmlDType::Q8_0);
            std::fs::read(&file).unwrap()
        });
        let mut bytes = bytes.clone();
        for (at, byte) in patches {
            bytes[at] = byte;
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        std::fs::write(&file, &bytes).unwrap();
        // A file that is still valid may load, with a changed weight for instance.
        if let Err(error) = loaded(&file) && !matches!(error, Error::Core(_)) {
            prop_assert!(error.to_string().contains("broken.gguf"), "{error}");
        }
    }
}
