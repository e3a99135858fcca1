//! Real models against transformers. The models are those in the folder that `EFT_MODELS` names, for which
//! `gguf_reference.py` has written the results of transformers beside them.
use std::path::{Path, PathBuf};
use std::time::Instant;

use eft_backend_candle::load_gguf;
use eft_core::{Decoding, Sampling};
use safetensors::SafeTensors;

use super::dequantised;
use super::scores::{Texts, difference, greedy, last, scores};
use crate::device::candle;

/// The largest allowed difference of a logit.
const TOLERANCE: f32 = 2e-3;

/// Returns the models that have goldens.
fn models() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("EFT_MODELS") else {
        println!("SKIPPED: EFT_MODELS names no folder of GGUF files");
        return Vec::new();
    };
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let (models, others): (Vec<_>, Vec<_>) = files
        .filter(|file| file.extension().is_some_and(|e| e == "gguf"))
        .partition(|file| golden(file, "json").exists() && golden(file, "safetensors").exists());
    others.iter().for_each(|file| println!("SKIPPED: {} has no goldens", file.display()));
    assert!(!models.is_empty(), "no model in {} has goldens", Path::new(&folder).display());
    models
}

fn golden(model: &Path, kind: &str) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(format!(".golden.{kind}"));
    name.into()
}

#[test]
fn real_models_score_and_write_as_transformers_runs_them() {
    for file in models() {
        // Transformers runs the dequantised model too.
        let source = dequantised(&file);
        let texts = Texts::read(&golden(&file, "json"));
        let bytes = std::fs::read(golden(&file, "safetensors")).unwrap();
        let goldens = SafeTensors::deserialize(&bytes).unwrap();
        let expected = |name: &str| -> Vec<f32> {
            let tensor = goldens.tensor(name).unwrap();
            tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let check = |what: &str, got: Vec<f32>, expected: Vec<f32>| {
            let worst = difference(&got, &expected);
            let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            println!("{} {what}: largest difference {worst:.1e}, largest logit {largest:.1}", file.display());
            assert!(worst <= TOLERANCE, "{}: {what}: {worst}", file.display());
        };
        for (i, prompt) in texts.prompts.iter().enumerate() {
            let what = format!("all {} positions of prompt {i}", prompt.len());
            check(&what, scores(&source, prompt), expected(&format!("logits.{i}")));
        }
        if let Some(long) = &texts.long {
            check(&format!("the last of {} positions", long.len()), last(&source, long), expected("long"));
        }
        assert_eq!(greedy(&source, &texts.prompts), texts.greedy, "{}", file.display());
    }
}

#[test]
fn real_vocabularies_decode_the_texts() {
    for file in models() {
        let source = load_gguf(&file, &candle()).unwrap();
        let texts = Texts::read(&golden(&file, "json"));
        let vocab = source.vocab();
        let text = |ids: &[u32]| String::from_utf8(vocab.decode(ids)).unwrap();
        assert!(text(&texts.prompts[0]).starts_with("The capital of France"));
        assert!(text(&texts.prompts[2]).contains("— «où» — there lived"));
        println!("{} {:?}", file.display(), text(&texts.greedy[0]));
        assert!(text(&texts.greedy[0]).contains("Rome"));
        assert!(!vocab.eos().is_empty());
    }
}

/// A measurement: `EFT_MODELS=… cargo test -p eft-backend-candle --release --test all speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed_of_decoding() {
    for file in models() {
        let begin = Instant::now();
        let source = load_gguf(&file, &candle()).unwrap();
        let loading = begin.elapsed();
        let prompt = &Texts::read(&golden(&file, "json")).prompts[0];
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(65);
        let mut tokens = source.generate(prompt, decoding).unwrap();
        let first = tokens.next().unwrap().unwrap();
        let begin = Instant::now();
        let count = tokens.inspect(|t| assert!(t.is_ok(), "after {first:?}")).count();
        let rate = count as f64 / begin.elapsed().as_secs_f64();
        println!("{}: loaded in {loading:.1?}, {count} tokens at {rate:.1} a second", file.display());
    }
}
