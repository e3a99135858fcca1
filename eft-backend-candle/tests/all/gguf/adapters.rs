//! Adapters in GGUF files: those of PEFT, converted, against what PEFT computes; damaged ones.
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Device, Tensor};
use eft_backend_candle::gguf::open_adapter;
use eft_backend_candle::{Candle, CandleNn, Gguf};
use eft_core::Source;
use eft_models::conformance::Golden;
use eft_models::{Adapter, Checkpoint, DecoderEngine, Error, Result, Weights};
use proptest::prelude::*;

use super::tiny::{Fields, Tensors, adapter_fields, adapter_tensors, fields, folder, tensors, write};
use crate::device::candle;

/// Adapters by PEFT, their bases, and their `lora_alpha`.
const ADAPTERS: [(&str, &str, f32); 3] =
    [("llama-lora", "llama", 6.0), ("qwen2-lora", "qwen2", 12.0), ("gpt2-lora", "gpt2", 8.0)];

fn adapted(weights: &dyn Weights, adapter: Adapter) -> Result<Source<Candle>> {
    let name = adapter.name().to_owned();
    let nn = CandleNn::new(candle());
    Ok(Source::new(DecoderEngine::with_adapters(nn, weights, &[adapter], None)?).adapter(&name)?)
}

#[test]
fn adapters_in_gguf_files_score_as_by_peft() {
    let dir = tempfile::tempdir().unwrap();
    let (model, file) = (dir.path().join("model.gguf"), dir.path().join("pirate.gguf"));
    for (name, family, alpha) in ADAPTERS {
        write(&model, &fields(family), &tensors(family), GgmlDType::F32);
        write(&file, &adapter_fields(family, alpha), &adapter_tensors(family, name), GgmlDType::F32);
        let (gguf, checkpoint) = (Gguf::open(&model).unwrap(), Checkpoint::open(folder(family)).unwrap());
        for weights in [&gguf as &dyn Weights, &checkpoint] {
            let adapter = open_adapter(&file).unwrap();
            assert_eq!(adapter.name(), "pirate");
            let source = adapted(weights, adapter).unwrap();
            let golden = Golden::variant(name, family).unwrap();
            println!("{:?}", golden.check_logits(&source).unwrap_or_else(|e| panic!("{name}: {e}")));
        }
    }
    // Without alpha, the product is added as it is: half of it is what the rank of 4 and an alpha of 2 give.
    let scores = |fields: Fields, weight: f32| {
        write(&file, &fields, &adapter_tensors("gpt2", "gpt2-lora"), GgmlDType::F32);
        let sum = Adapter::sum("sum", [(open_adapter(&file).unwrap(), weight)]);
        let source = adapted(&Checkpoint::open(folder("gpt2")).unwrap(), sum).unwrap();
        super::scores(&source, &[1, 5, 9, 13])
    };
    let mut bare = adapter_fields("gpt2", 0.0);
    let zero = scores(bare.clone(), 0.5);
    bare.remove("adapter.lora.alpha");
    for (other, weight) in [(bare, 0.5), (adapter_fields("gpt2", 2.0), 1.0)] {
        assert!(super::difference(&zero, &scores(other, weight)) <= 1e-5);
    }
}

/// Returns the error of opening a changed adapter, or of loading the tiny Llama with it.
fn error(change: impl FnOnce(&mut Fields, &mut Tensors)) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.gguf");
    let (mut fields, mut tensors) = (adapter_fields("llama", 6.0), adapter_tensors("llama", "llama-lora"));
    change(&mut fields, &mut tensors);
    write(&file, &fields, &tensors, GgmlDType::F32);
    let error = loaded(&file).unwrap_err();
    assert!(error.to_string().contains("broken.gguf"), "{error}");
    error
}

fn loaded(file: &Path) -> Result<()> {
    adapted(&Checkpoint::open(folder("llama")).unwrap(), open_adapter(file)?).map(drop)
}

#[test]
fn errors_name_the_field_or_the_tensor() {
    let text = |text: &str| Value::String(text.into());
    for (field, value) in [
        ("general.type", text("model")),
        ("general.type", Value::U32(1)),
        ("adapter.type", text("control_vector")),
        ("general.architecture", text("qwen2")),
        ("general.architecture", Value::U32(1)),
        ("adapter.lora.alpha", text("many")),
        ("adapter.lora.alpha", Value::F32(f32::NAN)),
        ("adapter.alora.invocation_tokens", Value::Array(vec![Value::U32(7)])),
        ("adapter.alora.invocation_tokens", Value::U32(7)),
    ] {
        match error(|fields, _| drop(fields.insert(field.into(), value.clone()))) {
            Error::Config { field: found, .. } => assert_eq!(found, field),
            other => panic!("{field} = {value:?}: {other}"),
        }
    }
    for field in ["general.type", "adapter.type", "general.architecture"] {
        let missing = error(|fields, _| drop(fields.remove(field)));
        assert!(matches!(&missing, Error::Config { field: found, .. } if found == field), "{missing}");
    }
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let q = "blk.0.attn_q.weight";
    type Change = Box<dyn Fn(&mut Tensors)>;
    let insert = |name: String, shape: &'static [usize]| -> Change {
        Box::new(move |tensors: &mut Tensors| drop(tensors.insert(name.clone(), zeros(shape))))
    };
    let remove =
        |name: String| -> Change { Box::new(move |tensors: &mut Tensors| drop(tensors.remove(&name))) };
    let (a, b) = (format!("{q}.lora_a"), format!("{q}.lora_b"));
    let embedding = |part: &str| format!("token_embd.weight.{part}");
    for (named, change) in [
        (&a, remove(a.clone())),
        (&b, remove(b.clone())),
        (&a, insert(a.clone(), &[3, 31])),
        (&a, insert(a.clone(), &[96])),
        (&b, insert(a.clone(), &[4, 32])),
        (&b, insert(b.clone(), &[31, 3])),
        (&b, insert(b.clone(), &[32])),
        (&embedding("lora_a"), insert(embedding("lora_a"), &[3, 96])),
        (&embedding("lora_b"), insert(embedding("lora_b"), &[3, 32])),
        (&embedding("lora_b"), remove(embedding("lora_b"))),
        (&"blk.9.attn_q.weight.lora_a".to_owned(), insert("blk.9.attn_q.weight.lora_a".into(), &[3, 32])),
        (&"blk.0.attn_q.lora_a".to_owned(), insert("blk.0.attn_q.lora_a".into(), &[3, 32])),
        (&"output_norm.weight".to_owned(), insert("output_norm.weight".into(), &[32])),
    ] {
        match error(|_, tensors| change(tensors)) {
            Error::BadTensor { tensor, .. } => assert_eq!(tensor, *named),
            other => panic!("{named}: {other}"),
        }
    }
}

#[test]
fn a_model_is_not_an_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::F32);
    let error = open_adapter(&file).unwrap_err();
    assert!(matches!(&error, Error::Config { field, .. } if field == "general.type"), "{error}");
    assert!(matches!(open_adapter(dir.path().join("nothing.gguf")), Err(Error::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A file with other bytes is loaded or refused; if it is cut off, it is refused.
    #[test]
    fn damaged_files_do_not_panic(
        at in 0usize..20_000,
        bytes in prop::collection::vec(any::<u8>(), 1..9),
        cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("broken.gguf");
        write(&file, &adapter_fields("llama", 6.0), &adapter_tensors("llama", "llama-lora"), GgmlDType::F32);
        let mut content = std::fs::read(&file).unwrap();
        // Most of the file is numbers, so the header is damaged half the time.
        let at = if bytes[0] % 2 == 0 { at % 1000 } else { at % content.len() };
        let end = (at + bytes.len()).min(content.len());
        content[at..end].copy_from_slice(&bytes[..end - at]);
        if cut {
            content.truncate(at);
        }
        std::fs::write(&file, content).unwrap();
        match loaded(&file) {
            Ok(()) => prop_assert!(!cut),
            Err(error) => prop_assert!(error.to_string().contains("broken.gguf"), "{error}"),
        }
    }
}
