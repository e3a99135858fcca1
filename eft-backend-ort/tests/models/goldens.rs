//! Tiny exported models against transformers, against onnxruntime in Python, and under the conformance kit.
use eft_backend_ort::OnnxEngine;
use eft_core::conformance::{SourceTest, check_engine, check_joins, check_source, check_traffic};
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Prompt, Sampling, Source, TokenId};

use crate::tiny::{Golden, checkpoint, exported, model, ort};

/// The exported models, the checkpoints they were made from, and whether rows of different length share a pass.
const EXPORTS: [(&str, &str, bool); 9] = [
    ("llama", "llama", true),
    ("qwen2", "qwen2", true),
    ("gpt2", "gpt2", true),
    ("llama-merged", "llama", true),
    ("llama-mask-positions", "llama", true),
    ("llama-no-cache", "llama", true),
    // These derive positions from the cache's length, attend to a window of slots, or take one row only, so they cannot
    // run with masked slots.
    ("llama-cache-positions", "llama", false),
    ("mistral", "mistral", false),
    ("llama-one-row", "llama", false),
];

/// The largest difference that a logit may have.
const TOLERANCE: f32 = 2e-3;

fn greedy(source: &Source<eft_backend_ort::Ort>, prompts: &[Vec<TokenId>]) -> Vec<Vec<TokenId>> {
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(32);
    let mut texts = vec![Vec::new(); prompts.len()];
    for event in source.generate_batch(prompts.iter().cloned(), decoding).unwrap() {
        if let Event::Token { row, token } = event.unwrap() {
            texts[row].push(token.id);
        }
    }
    texts
}

#[test]
fn logits_and_texts_match_transformers_and_onnxruntime() {
    for (name, made_from, _) in EXPORTS {
        let source = model(name);
        let (transformers, onnxruntime) = (Golden::read(checkpoint(made_from)), Golden::read(exported(name)));
        let differences = [&transformers, &onnxruntime].map(|golden| golden.difference(&source));
        println!(
            "{name:24} from transformers {:.1e}, from onnxruntime {:.1e}",
            differences[0], differences[1]
        );
        assert!(differences.iter().all(|difference| *difference <= TOLERANCE), "{name}: {differences:?}");
        assert_eq!(greedy(&source, &transformers.prompts), transformers.greedy, "{name}");
        assert_eq!(onnxruntime.greedy, transformers.greedy, "{name}");
    }
}

#[test]
fn half_precision_matches_onnxruntime() {
    let (source, golden) = (model("llama-f16"), Golden::read(exported("llama-f16")));
    let difference = golden.difference(&source);
    println!("llama-f16: from onnxruntime {difference:.1e}");
    // A few roundings in half precision, for logits up to ten.
    assert!(difference <= 5e-2, "{difference}");
    assert_eq!(greedy(&source, &golden.prompts), golden.greedy);
    check_source(&source, &SourceTest::new(golden.prompts).tolerance(5e-2).steps(30))
        .unwrap_or_else(|e| panic!("{e}"));
}

/// Activations are quantised by the range of all activations in a pass, so each prompt must run in one pass, as it did
/// for the golden.
#[test]
fn quantised_models_match_onnxruntime() {
    let (source, golden) = (model("llama-int8"), Golden::read(exported("llama-int8")));
    for (i, prompt) in golden.prompts.iter().enumerate() {
        let (_, scores) = source.session(&[Prompt::from(prompt)]).unwrap();
        let got = source.backend().download(&scores.last().unwrap(), scores.width()).unwrap();
        let expected = &golden.logits[i][golden.logits[i].len() - got.len()..];
        let difference = got.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        println!("llama-int8: from onnxruntime {difference:.1e}");
        assert!(difference <= TOLERANCE, "{difference}");
        assert_eq!(greedy(&source, std::slice::from_ref(prompt))[0], golden.greedy[i]);
    }
}

#[test]
fn rows_share_a_pass_if_the_model_respects_masked_slots() {
    for (name, _, together) in EXPORTS {
        let engine = OnnxEngine::load(exported(name), &ort(), None).unwrap();
        assert_eq!(engine.runs_rows_together(), together, "{name}");
    }
}

#[test]
fn every_exported_model_passes_the_conformance_kit() {
    for (name, ..) in EXPORTS {
        let source = model(name);
        let prompts = Golden::read(exported(name)).prompts;
        let test = SourceTest::new(prompts).tolerance(1e-3);
        check_source(&source, &test.clone().steps(60)).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_traffic(&source, &test).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn sessions_of_exported_models_obey_the_laws() {
    // A shared cache, a cache for each row, no cache; and a cache without an attention mask.
    let llama = Golden::read(exported("llama")).prompts;
    let tests = [
        ("llama", llama.clone()),
        ("llama-cache-positions", llama.clone()),
        ("llama-no-cache", llama),
        ("broken/sound.onnx", vec![vec![0], vec![1, 7, 1], vec![5, 2]]),
    ];
    for (name, prompts) in tests {
        let engine = OnnxEngine::load(exported(name), &ort(), None).unwrap();
        assert!(engine.warnings().is_empty(), "{name}: {:?}", engine.warnings());
        let test = SourceTest::new(prompts).tolerance(1e-3);
        check_engine(&engine, &test).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_joins(&Source::new(engine), &test.walks(2).steps(10)).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
