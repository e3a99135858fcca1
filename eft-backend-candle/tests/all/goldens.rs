//! Every family and adapter against transformers and PEFT, by the conformance kit of eft-models.
use eft_backend_candle::{CacheType, Candle, CandleNn};
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
fn rows_take_tokens_from_each_other() {
    passed(conformance::check_sharing(&nn()));
}

#[test]
fn caches_of_windows_do_not_grow() {
    passed(conformance::check_windows(&nn()));
    // Tensor operations, as on a GPU.
    passed(conformance::check_windows(&CandleNn::new(Candle::cpu().generic(true))));
}

#[test]
fn smaller_types_of_the_cache_pass_the_checks_of_decoding() {
    for kind in [CacheType::F16, CacheType::Q8_0] {
        passed(conformance::check_methods(&nn().cache_type(kind)));
        passed(conformance::check_windows(&nn().cache_type(kind)));
        passed(conformance::check_sharing(&nn().cache_type(kind)));
    }
}

#[test]
fn smaller_types_of_the_cache_round_only_a_little() {
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    for family in ["llama", "gemma3", "gpt-oss", "qwen3"] {
        let checkpoint = Checkpoint::open(passed(Golden::family(family)).folder()).unwrap();
        let scores = |candle: Candle, kind| {
            let nn = CandleNn::new(candle).cache_type(kind);
            let model = Source::new(DecoderEngine::load(nn, &checkpoint, None).unwrap());
            model.score([1, 5, 3], &[9, 60, 33, 7, 12, 80, 4, 4, 21, 50]).unwrap().tokens
        };
        let [exact, half, codes] = CacheType::ALL.map(|kind| scores(Candle::cpu(), kind));
        // The tensor library rounds for itself: a number that it computes otherwise in its last bits may be rounded otherwise.
        let tensors = scores(Candle::cpu().generic(true), CacheType::F16);
        assert!(largest(&half, &tensors) < 1e-3, "{family}: {half:?}, with tensors {tensors:?}");
        let differences = [largest(&exact, &half), largest(&exact, &codes)];
        assert!(0.0 < differences[0] && differences[0] < 5e-3, "{family}: {differences:?}");
        assert!(differences[0] < differences[1] && differences[1] < 8e-2, "{family}: {differences:?}");
    }
}

#[test]
fn a_type_of_the_cache_that_tensors_do_not_have_is_refused() {
    let checkpoint = Checkpoint::open(passed(Golden::family("llama")).folder()).unwrap();
    let nn = CandleNn::new(Candle::cpu().generic(true)).cache_type(CacheType::Q8_0);
    let error = DecoderEngine::load(nn, &checkpoint, None).err().unwrap();
    let mut reasons = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    assert!(reasons.any(|error| error.to_string().contains("q8_0 needs the processor")), "{error:?}");
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
