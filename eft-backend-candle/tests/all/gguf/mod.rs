//! GGUF files: tiny ones against the checkpoints that they were written from, damaged ones, and real ones.
mod adapters;
mod broken;
mod families;
mod llama_cpp;
mod real;
mod scores;
mod split;
mod tables;
// For `value`, of which it is a part.
mod texts {
    pub(super) use eft_backend_candle::gguf::Texts;
}
mod tiny;
// For its unit tests.
#[allow(dead_code, reason = "only its tests are needed here")]
#[path = "../../../src/gguf/value.rs"]
mod value;

use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use eft_backend_candle::{Candle, CandleNn, Gguf, load, load_gguf};
use eft_core::conformance::{SourceTest, check_source, check_traffic};
use eft_core::{Error, Sampling, Source};
use eft_models::{Adapter, Checkpoint, DecoderEngine, Weights};

use scores::{Texts, difference, greedy, scores};
use tiny::{FAMILIES, fields, folder, tensors, with_vocab, write};

use crate::device::candle;

#[test]
fn every_family_scores_as_the_checkpoint_it_is_written_from() {
    let dir = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let file = dir.path().join(format!("{family}.gguf"));
        write(&file, &fields(family), &tensors(family), GgmlDType::F32);
        let (gguf, safetensors) =
            (load_gguf(&file, &candle()).unwrap(), load(folder(family), &candle(), None).unwrap());
        let texts = Texts::read(&folder(family).join("golden.json"));
        for prompt in &texts.prompts {
            let worst = difference(&scores(&gguf, prompt), &scores(&safetensors, prompt));
            println!("{family:8} largest difference of a logit {worst:.1e}");
            assert!(worst <= 1e-5, "{family}: {worst}");
        }
        assert_eq!(greedy(&gguf, &texts.prompts), texts.greedy, "{family}");
    }
}

#[test]
fn dequantised_models_score_as_candles_dequantised_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let (quantised, plain) = (dir.path().join("q8_0.gguf"), dir.path().join("f32.gguf"));
    write(&quantised, &fields("llama"), &tensors("llama"), GgmlDType::Q8_0);
    let rounded = |tensor: Tensor| {
        if tensor.rank() == 2 && tensor.dim(1).unwrap().is_multiple_of(32) {
            let quantised = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
            quantised.dequantize(&Device::Cpu).unwrap()
        } else {
            tensor
        }
    };
    let tensors = tensors("llama").into_iter().map(|(name, tensor)| (name, rounded(tensor))).collect();
    write(&plain, &fields("llama"), &tensors, GgmlDType::F32);
    let exact = load(folder("llama"), &candle(), None).unwrap();
    let prompt = &Texts::read(&folder("llama").join("golden.json")).prompts[0];
    let (a, b, c) = (
        scores(&dequantised(&quantised), prompt),
        scores(&dequantised(&plain), prompt),
        scores(&exact, prompt),
    );
    assert!(difference(&a, &b) <= 1e-5);
    let rounding = difference(&a, &c);
    let largest = c.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    println!("rounding to Q8_0 moves a logit by {rounding:.2} at most, of up to {largest:.1}");
    assert!(rounding > 0.0 && rounding < 0.1 * largest, "{rounding} of {largest}");
}

#[test]
fn quantising_activations_changes_logits_little() {
    let dir = tempfile::tempdir().unwrap();
    for dtype in [GgmlDType::Q8_0, GgmlDType::Q5_0, GgmlDType::Q4_1] {
        let file = dir.path().join("quantised.gguf");
        write(&file, &fields("llama"), &tensors("llama"), dtype);
        let source = load_gguf(&file, &candle()).unwrap();
        let exact = dequantised(&file);
        for prompt in &Texts::read(&folder("llama").join("golden.json")).prompts {
            let (got, expected) = (scores(&source, prompt), scores(&exact, prompt));
            let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let rounding = difference(&got, &expected);
            println!("{dtype:?}: 8-bit activations move a logit by {rounding:.1e}, of up to {largest:.1}");
            assert!(rounding > 0.0 && rounding < 0.1 * largest, "{dtype:?}: {rounding} of {largest}");
        }
    }
}

#[test]
fn quantised_weights_of_tensor_operations_score_as_their_numbers() {
    // As on a GPU, in every type of activations.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quantised.gguf");
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::Q8_0);
    let prompt = &Texts::read(&folder("llama").join("golden.json")).prompts[0];
    let expected = scores(&dequantised(&file), prompt);
    let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let gguf = Gguf::open(&file).unwrap();
        let nn = CandleNn::new(Candle::cpu().generic(true)).dtype(dtype);
        let source = Source::new(DecoderEngine::load(nn, &gguf, gguf.vocab().cloned()).unwrap());
        let rounding = difference(&scores(&source, prompt), &expected);
        println!("{dtype:?}: activations move a logit by {rounding:.1e}, of up to {largest:.1}");
        assert!(rounding > 0.0 && rounding < 0.1 * largest, "{dtype:?}: {rounding} of {largest}");
    }
}

#[test]
fn quantised_models_pass_the_conformance_kit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quantised.gguf");
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::Q8_0);
    let source = load_gguf(&file, &candle()).unwrap();
    let prompts = Texts::read(&folder("llama").join("golden.json")).prompts;
    // Rounding the activations moves scores, but by as much whatever else is in a pass.
    let exact = dequantised(&file);
    let moved = prompts.iter().map(|prompt| difference(&scores(&source, prompt), &scores(&exact, prompt)));
    let rounding = moved.fold(0.0, f32::max);
    println!("8-bit activations move a logit by {rounding:.1e}");
    let test = SourceTest::new(prompts).tolerance(1e-5);
    check_source(&source, &test.clone().steps(30)).unwrap_or_else(|e| panic!("{e}"));
    check_traffic(&source, &test).unwrap_or_else(|e| panic!("{e}"));
}

/// Queries and keys of the original Llama are in another order than they are computed with. They are multiplied where they
/// are: a copy would take memory beside the mapped file.
#[test]
fn weights_in_pairs_are_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    write(&file, &fields("llama"), &tensors("llama"), GgmlDType::Q8_0);
    let gguf = Gguf::open(&file).unwrap();
    for (linear, pairs) in [("q_proj", true), ("k_proj", true), ("v_proj", false)] {
        let name = format!("model.layers.0.self_attn.{linear}");
        let layer = gguf.spec().layers[0].linears().into_iter().find(|layer| layer.name == name).unwrap();
        let (name, shape) = (format!("{name}.weight"), layer.stored_shape());
        let [(stored, head), (again, _)] = [(); 2].map(|()| gguf.linear(&name, &shape).unwrap());
        assert_eq!((stored.bytes.as_ptr(), head.is_some()), (again.bytes.as_ptr(), pairs), "{name}");
        let in_order = head.map_or(stored.clone(), |head| stored.unpaired(head));
        assert_eq!(gguf.tensor(&name, &shape).unwrap().bytes, in_order.bytes, "{name}");
        assert_eq!(stored.bytes == in_order.bytes, !pairs, "{name}");
    }
}

#[test]
fn vocabularies_hold_the_bytes_of_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = |model: &str, tokens: &[(&str, i32)]| {
        let file = dir.path().join("model.gguf");
        let mut fields = with_vocab(fields("llama"), model, tokens);
        fields.insert("tokenizer.ggml.eos_token_id".into(), gguf_u32(0));
        fields.insert("tokenizer.ggml.eot_token_id".into(), gguf_u32(1));
        write(&file, &fields, &tensors("llama"), GgmlDType::F32);
        Gguf::open(&file).unwrap().vocab().unwrap().as_ref().clone()
    };
    let bytes =
        vocab("gpt2", &[("<|end|>", 3), ("<|turn|>", 3), ("Ġa", 1), ("Ã©Ċ", 1), ("Ġ", 4), ("pad", 5)]);
    let got: Vec<_> = (2..6).map(|id| bytes.bytes(id)).collect();
    assert_eq!(got, [Some(&b" a"[..]), Some("é\n".as_bytes()), Some("Ġ".as_bytes()), None]);
    assert_eq!((bytes.unassigned(), bytes.eos().iter().copied().collect::<Vec<_>>()), (vec![5], vec![0, 1]));
    assert!(bytes.is_special(0) && !bytes.is_special(4));

    let pieces =
        vocab("llama", &[("</s>", 3), ("<turn>", 3), ("▁a", 1), ("<0x0A>", 6), ("▁▁", 1), ("<unk>", 2)]);
    let got: Vec<_> = (2..6).map(|id| pieces.bytes(id).unwrap()).collect();
    assert_eq!(got, [b" a".as_slice(), b"\n", b"  ", b"<unk>"]);
    assert!(pieces.is_special(5));
}

#[test]
fn ends_are_those_of_llama_cpp() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    let ends = |tokens: &[(&str, i32)], named: &[(&str, Value)]| {
        let mut fields = with_vocab(fields("llama"), "gpt2", tokens);
        fields.extend(named.iter().map(|(name, id)| (format!("tokenizer.ggml.{name}_token_id"), id.clone())));
        write(&file, &fields, &tensors("llama"), GgmlDType::F32);
        let gguf = Gguf::open(&file).unwrap();
        let vocab = gguf.vocab().unwrap();
        assert!(vocab.eos().iter().all(|id| vocab.is_special(*id)));
        vocab.eos().iter().copied().collect::<Vec<_>>()
    };
    // Early files of Llama 3: `eos` ends a document, and turns end with another token.
    let llama3 = [("<|eot_id|>", 3), ("a", 1), ("<|end_of_text|>", 3)];
    assert_eq!(ends(&llama3, &[("eos", gguf_u32(2))]), [0, 2]);
    // A token of such a name is a control token, whatever the file says, but not an ordinary `</s>`.
    assert_eq!(ends(&[("<end_of_turn>", 1), ("</s>", 1), ("<|im_end|>", 4), ("<PAD>", 1)], &[]), [0, 2]);
    assert_eq!(ends(&[("</s>", 3), ("<|endoftext|>", 5), ("<|fim_pad|>", 3)], &[]), [0, 2]);
    // In some vocabularies, `<|end|>` ends a part of a message.
    assert_eq!(ends(&[("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3)], &[]), [1, 2]);
    assert_eq!(ends(&[("<|end|>", 3), ("<|return|>", 3)], &[]), [0, 1]);
    assert_eq!(ends(&[("a", 1), ("b", 1)], &[("eot", gguf_u32(1)), ("eom", gguf_u32(0))]), [0, 1]);
}

#[test]
fn ids_that_are_no_tokens_are_ignored_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    for id in [gguf_u32(u32::MAX), gguf_u32(96), Value::I32(-1), Value::I64(-1)] {
        for name in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"] {
            let mut fields = with_vocab(fields("llama"), "gpt2", &[("<|im_end|>", 3)]);
            fields.insert("tokenizer.ggml.pre".into(), Value::String("gpt-2".into()));
            fields.insert(name.into(), id.clone());
            write(&file, &fields, &tensors("llama"), GgmlDType::F32);
            let gguf = Gguf::open(&file).unwrap();
            assert_eq!(gguf.vocab().unwrap().eos().iter().copied().collect::<Vec<_>>(), [0]);
            let [warning] = gguf.warnings() else { panic!("{:?}", gguf.warnings()) };
            assert_eq!(warning.field, name);
            assert!(warning.finding.contains("not a token"), "{}", warning.finding);
        }
    }
    let other = with_vocab(fields("llama"), "rwkv", &[]);
    write(&file, &other, &tensors("llama"), GgmlDType::F32);
    let gguf = Gguf::open(&file).unwrap();
    assert!(gguf.tokenizer().is_none());
    assert!(
        gguf.warnings()[0].field == "tokenizer.ggml.model" && gguf.warnings()[0].finding.contains("`rwkv`")
    );
    let unnamed = with_vocab(fields("llama"), "gpt2", &[]);
    write(&file, &unnamed, &tensors("llama"), GgmlDType::F32);
    assert_eq!(Gguf::open(&file).unwrap().warnings()[0].field, "tokenizer.ggml.pre");
}

#[test]
fn models_combine_if_their_tokens_agree() {
    let dir = tempfile::tempdir().unwrap();
    let model = |name: &str, family: &str, tokens: &[(&str, i32)]| {
        let file = dir.path().join(format!("{name}.gguf"));
        write(&file, &with_vocab(fields(family), "gpt2", tokens), &tensors(family), GgmlDType::F32);
        load_gguf(&file, &candle()).unwrap()
    };
    let large = model("large", "llama", &[("a", 1), ("b", 1)]);
    let tuned = model("tuned", "qwen2", &[("a", 1), ("b", 1)]);
    let other = model("other", "qwen3", &[("b", 1), ("a", 1)]);
    assert_eq!((&large + &tuned).generate([1, 5, 9], Sampling::greedy()).unwrap().take(4).count(), 4);
    let wrong = (&large + &other).generate([1, 5, 9], Sampling::greedy()).map(drop);
    assert!(matches!(wrong, Err(Error::VocabMismatch { id: 0, .. })), "{wrong:?}");
}

#[test]
fn adapters_score_as_on_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    for (family, name) in [("qwen2", "qwen2-lora"), ("gpt2", "gpt2-lora")] {
        let file = dir.path().join("model.gguf");
        write(&file, &fields(family), &tensors(family), GgmlDType::F32);
        let adapted = |weights: &dyn Weights| {
            let adapter = Adapter::open(folder(name)).unwrap();
            let nn = CandleNn::new(candle());
            let base = Source::new(DecoderEngine::with_adapters(nn, weights, &[adapter], None).unwrap());
            base.adapter(name).unwrap()
        };
        let (gguf, checkpoint) = (Gguf::open(&file).unwrap(), Checkpoint::open(folder(family)).unwrap());
        let prompt = [1, 5, 9, 13];
        let worst = difference(&scores(&adapted(&gguf), &prompt), &scores(&adapted(&checkpoint), &prompt));
        assert!(worst <= 1e-5, "{name}: {worst}");
    }
}

pub(super) fn dequantised(file: &Path) -> Source<Candle> {
    let gguf = Gguf::open(file).unwrap().dequantised();
    let vocab = gguf.vocab().cloned();
    Source::new(DecoderEngine::load(CandleNn::new(candle()), &gguf, vocab).unwrap())
}

fn gguf_u32(value: u32) -> Value {
    Value::U32(value)
}
