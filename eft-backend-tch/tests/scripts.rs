//! TorchScript modules: a Llama, and small modules that follow the calling convention in part or not at all.
mod device;

use std::error::Error as _;
use std::path::PathBuf;

use eft_backend_tch::{ScriptEngine, ScriptError, ScriptOptions, Torch, load_script};
use eft_core::conformance::{SourceTest, check_engine, check_joins, check_source, check_traffic};
use eft_core::{Decoding, Error, Sampling, Source, TokenId, Vocab};
use eft_models::conformance::Golden;

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", &format!("{name}.pt")].iter().collect()
}

/// The messages of an error and of its sources.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| (**error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn load(name: &str, options: &ScriptOptions) -> Result<Source<Torch>, ScriptError> {
    load_script(file(name), &device::torch(), options, None)
}

fn engine(name: &str, options: &ScriptOptions) -> ScriptEngine {
    let engine = ScriptEngine::load(file(name), &device::torch(), options, None).unwrap();
    assert!(engine.warnings().is_empty(), "{name}: {:?}", engine.warnings());
    engine
}

fn model(name: &str) -> Source<Torch> {
    Source::new(engine(name, &ScriptOptions::default().context(128)))
}

#[test]
fn a_llama_matches_transformers() {
    let (golden, source) = (Golden::family("llama").unwrap(), model("llama"));
    println!("{:?}", golden.check_logits(&source).unwrap());
    golden.check_greedy(&source).unwrap();
    let test = SourceTest::new(golden.prompts).tolerance(1e-3);
    let engine = engine("llama", &ScriptOptions::default().context(128));
    check_engine(&engine, &test).unwrap_or_else(|failure| panic!("{failure}"));
    check_source(&source, &test).unwrap_or_else(|failure| panic!("{failure}"));
    check_traffic(&source, &test).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn modules_with_any_cache_pass_the_conformance_kit() {
    // A cache with masked slots, a module that ignores the mask, a sliding window, no cache.
    let (all, window) = (ScriptOptions::default().context(128), ScriptOptions::default().sliding_window());
    for (name, options) in [("sums", &all), ("blind", &all), ("sums", &window), ("nocache", &all)] {
        let test = SourceTest::new([vec![0], vec![1, 7, 1], vec![5, 2, 2, 6]]).tolerance(1e-3);
        check_engine(&engine(name, options), &test).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let source = Source::new(engine(name, options));
        check_source(&source, &test).unwrap_or_else(|failure| panic!("{source}: {failure}"));
        let few = test.clone().walks(2).steps(10);
        check_joins(&source, &few).unwrap_or_else(|failure| panic!("{source}: {failure}"));
        check_traffic(&source, &test).unwrap_or_else(|failure| panic!("{source}: {failure}"));
    }
}

#[test]
fn long_prompts_are_fed_in_several_passes() {
    let prompts: Vec<Vec<TokenId>> = (0..3).map(|row| (0..50).map(|i| (i * 3 + row) % 8).collect()).collect();
    let texts = |options: &ScriptOptions| {
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(12);
        let source = load("sums", options).unwrap();
        source
            .generate_batch(prompts.clone(), decoding)
            .unwrap()
            .map(|e| format!("{:?}", e.unwrap()))
            .collect()
    };
    let whole: Vec<_> = texts(&ScriptOptions::default());
    let in_passes: Vec<_> = texts(&ScriptOptions::default().max_pass_tokens(7));
    assert_eq!(whole, in_passes);
}

#[test]
fn modules_that_break_the_convention_are_refused_with_the_reason() {
    let refused = [
        ("forgetful", "logits over its cache differ"),
        ("flat", "what `forward` of"),
        ("stale", "what `forward` of"),
        ("failing", "no such luck"),
        ("oneinput", "forward"),
    ];
    for (name, what) in refused {
        match load(name, &ScriptOptions::default()).map(drop) {
            Err(error) => {
                assert!(matches!(error, ScriptError::Convention { .. }), "{error:?}");
                let message = causes(&error);
                assert!(
                    message.contains(what) && message.contains(&format!("{name}.pt")),
                    "{name}: {message}"
                );
                assert!(!message.contains("frame #"), "{name}: {message}");
            }
            Ok(()) => panic!("{name} was accepted"),
        }
    }
}

#[test]
fn files_that_are_no_module_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.pt");
    let sound = std::fs::read(file("sums")).unwrap();
    for bytes in [&b"no archive"[..], &[], &sound[..sound.len() / 2]] {
        std::fs::write(&broken, bytes).unwrap();
        let error =
            load_script(&broken, &device::torch(), &ScriptOptions::default(), None).map(drop).unwrap_err();
        assert!(matches!(&error, ScriptError::Unreadable { file, .. } if *file == broken), "{error}");
        assert!(!error.to_string().contains(&error.source().unwrap().to_string()), "{}", causes(&error));
    }
    let missing = load("missing", &ScriptOptions::default()).map(drop).unwrap_err();
    assert!(missing.to_string().contains("missing.pt"), "{missing}");
}

#[test]
fn a_vocabulary_of_another_width_is_refused() {
    let vocab = Vocab::anonymous("other", 9).unwrap();
    let refused =
        load_script(file("sums"), &device::torch(), &ScriptOptions::default(), Some(vocab)).map(drop);
    assert!(matches!(refused, Err(ScriptError::Core(Error::Shape { .. }))), "{refused:?}");
}
