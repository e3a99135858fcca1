//! Every family and adapter against transformers and PEFT, by the conformance kit of eft-models.
use eft_backend_candle::{Candle, CandleNn};
use eft_core::Source;
use eft_models::conformance::{self, Golden};
use eft_models::{Checkpoint, DecoderEngine};
use safetensors::SafeTensors;

use crate::device::candle;

fn nn() -> CandleNn {
    CandleNn::new(candle())
}

fn passed<T>(verdict: conformance::Verdict<T>) -> T {
    verdict.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn families_match_transformers() {
    passed(conformance::check_families(&nn())).iter().for_each(|found| println!("{found:?}"));
}

#[test]
fn masks_of_tensor_operations_hide_what_transformers_hides() {
    // As on a GPU. All keys, a window, and chunks.
    let nn = CandleNn::new(Candle::cpu().generic(true));
    for family in ["qwen2", "mistral", "llama4"] {
        let golden = passed(Golden::family(family));
        let checkpoint = Checkpoint::open(golden.folder()).unwrap();
        let source = Source::new(DecoderEngine::load(nn.clone(), &checkpoint, None).unwrap());
        println!("{:?}", passed(golden.check_logits(&source)));
        passed(golden.check_greedy(&source));
    }
}

#[test]
fn adapters_match_peft() {
    passed(conformance::check_adapters(&nn())).iter().for_each(|found| println!("{found:?}"));
}

#[test]
fn speculation_and_search_match_plain_decoding() {
    passed(conformance::check_methods(&nn()));
}

#[test]
fn calls_that_fail_change_nothing() {
    passed(conformance::check_failures(&nn()));
}

#[test]
fn caches_of_windows_do_not_grow() {
    passed(conformance::check_windows(&nn()));
    // Tensor operations, as on a GPU.
    passed(conformance::check_windows(&CandleNn::new(Candle::cpu().generic(true))));
}

#[test]
fn products_with_larger_weights_match_f64() {
    println!("{:.1e}", passed(conformance::check_products(&nn(), 1e-6)));
}

#[test]
fn sinks_and_clamped_gates_of_tensor_operations_match_transformers() {
    // As on a GPU. All other tests of this family use the operations of `eft_cpu`.
    let golden = passed(Golden::family("gpt-oss"));
    let checkpoint = Checkpoint::open(golden.folder()).unwrap();
    let nn = CandleNn::new(Candle::cpu().generic(true));
    passed(golden.check_logits(&Source::new(DecoderEngine::load(nn, &checkpoint, None).unwrap())));
}

#[test]
fn half_precision_checkpoints_score_as_their_rounded_weights_in_f32() {
    use half::{bf16, f16};
    let golden = passed(Golden::family("llama"));
    let load = |folder: &std::path::Path| {
        let checkpoint = Checkpoint::open(folder).unwrap();
        Source::new(DecoderEngine::load(nn(), &checkpoint, None).unwrap())
    };
    let bytes = std::fs::read(golden.folder().join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    /// Rounds a number: the bytes to store, and the value that they stand for.
    type Round = fn(f32) -> ([u8; 2], f32);
    let halves: [(safetensors::Dtype, Round); 2] = [
        (safetensors::Dtype::F16, |x| (f16::from_f32(x).to_le_bytes(), f16::from_f32(x).to_f32())),
        (safetensors::Dtype::BF16, |x| (bf16::from_f32(x).to_le_bytes(), bf16::from_f32(x).to_f32())),
    ];
    for (dtype, round) in halves {
        let written = [(dtype, true), (safetensors::Dtype::F32, false)].map(|(dtype, half)| {
            let data: Vec<_> = stored
                .tensors()
                .into_iter()
                .map(|(name, tensor)| {
                    let numbers =
                        tensor.data().chunks(4).map(|b| round(f32::from_le_bytes(b.try_into().unwrap())));
                    let bytes: Vec<u8> = match half {
                        true => numbers.flat_map(|(bytes, _)| bytes).collect(),
                        false => numbers.flat_map(|(_, number)| number.to_le_bytes()).collect(),
                    };
                    (name, tensor.shape().to_vec(), bytes)
                })
                .collect();
            let views = data.iter().map(|(name, shape, bytes)| {
                (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
            });
            let copy = tempfile::tempdir().unwrap();
            std::fs::copy(golden.folder().join("config.json"), copy.path().join("config.json")).unwrap();
            safetensors::serialize_to_file(views, None, &copy.path().join("model.safetensors")).unwrap();
            load(copy.path()).score([1, 5], &[9, 60, 33, 7]).unwrap()
        });
        assert_eq!(written[0], written[1], "{dtype:?}");
        assert_ne!(
            written[0],
            load(golden.folder()).score([1, 5], &[9, 60, 33, 7]).unwrap(),
            "nothing was rounded"
        );
    }
}
