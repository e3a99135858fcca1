//! Tiny exports against transformers, against onnxruntime in Python, and under the laws of sources.
use eft_backend_ort::OnnxEngine;
use eft_core::conformance::{SourceTest, check_source, check_traffic};
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Prompt, Sampling, Source, TokenId};

use crate::tiny::{Golden, checkpoint, exported, model, ort};

/// Exports, the checkpoints they were made of, and whether rows of different length run together.
const EXPORTS: [(&str, &str, bool); 9] = [
    ("llama", "llama", true),
    ("qwen2", "qwen2", true),
    ("gpt2", "gpt2", true),
    ("llama-merged", "llama", true),
    ("llama-mask-positions", "llama", true),
    ("llama-no-cache", "llama", true),
    // Positions are the cache's length, and a window is counted in slots: holes would be in the way.
    ("llama-cache-positions", "llama", false),
    ("mistral", "mistral", false),
    ("llama-one-row", "llama", false),
];

/// No logit may be further off.
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
fn logits_and_texts_are_those_of_transformers_and_of_onnxruntime() {
    for (name, made_of, _) in EXPORTS {
        let source = model(name);
        let (theirs, own) = (Golden::read(checkpoint(made_of)), Golden::read(exported(name)));
        let (far, near) = (theirs.difference(&source), own.difference(&source));
        println!("{name:24} from transformers {far:.1e}, from onnxruntime in Python {near:.1e}");
        assert!(far <= TOLERANCE && near <= TOLERANCE, "{name}: {far} {near}");
        assert_eq!(greedy(&source, &theirs.prompts), theirs.greedy, "{name}");
        assert_eq!(own.greedy, theirs.greedy, "{name}");
    }
}

#[test]
fn half_precision_is_that_of_onnxruntime() {
    let (source, own) = (model("llama-f16"), Golden::read(exported("llama-f16")));
    let near = own.difference(&source);
    println!("llama-f16: from onnxruntime in Python {near:.1e}");
    // A few roundings of half precision, of logits up to ten.
    assert!(near <= 5e-2, "{near}");
    assert_eq!(greedy(&source, &own.prompts), own.greedy);
    check_source(&source, &SourceTest::new(own.prompts).tolerance(5e-2).steps(30))
        .unwrap_or_else(|e| panic!("{e}"));
}

/// Activations are quantised by the range of all that a pass is given, so the same tokens must go in as they did.
#[test]
fn quantised_models_are_those_of_onnxruntime() {
    let (source, own) = (model("llama-int8"), Golden::read(exported("llama-int8")));
    for (i, prompt) in own.prompts.iter().enumerate() {
        let (_, scores) = source.session(&[Prompt::from(prompt)]).unwrap();
        let got = source.backend().download(&scores.last().unwrap(), scores.width()).unwrap();
        let expected = &own.logits[i][own.logits[i].len() - got.len()..];
        let far = got.iter().zip(expected).fold(0.0f32, |far, (a, b)| far.max((a - b).abs()));
        println!("llama-int8: from onnxruntime in Python {far:.1e}");
        assert!(far <= TOLERANCE, "{far}");
        assert_eq!(greedy(&source, std::slice::from_ref(prompt))[0], own.greedy[i]);
    }
}

#[test]
fn rows_run_together_where_the_model_can_be_told_of_holes() {
    for (name, _, together) in EXPORTS {
        let engine = OnnxEngine::load(exported(name), &ort(), None).unwrap();
        assert_eq!(engine.runs_rows_together(), together, "{name}");
    }
}

#[test]
fn every_export_obeys_the_laws_of_sources() {
    for (name, ..) in EXPORTS {
        let source = model(name);
        let prompts = Golden::read(exported(name)).prompts;
        let test = SourceTest::new(prompts).tolerance(1e-3);
        check_source(&source, &test.clone().steps(60)).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_traffic(&source, &test).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
