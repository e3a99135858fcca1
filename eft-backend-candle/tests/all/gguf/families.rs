//! Files in the layout of llama.cpp's converter, one of every family, against transformers. See `families/make.py`.
use std::path::{Path, PathBuf};

use eft_backend_candle::{Gguf, load_gguf};
use eft_core::TokenId;
use eft_models::Weights;

use super::dequantised;
use super::scores::{difference, scores};
use crate::device::candle;

pub(super) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/gguf/families").join(name)
}

/// The names of all files.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(file("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> =
        entries.filter_map(|name| Some(name.to_str()?.strip_suffix(".gguf")?.to_owned())).collect();
    names.sort();
    names
}

pub(super) fn prompts() -> Vec<Vec<TokenId>> {
    serde_json::from_slice(&std::fs::read(file("prompts.json")).unwrap()).unwrap()
}

/// The logits of the prompts in a file beside a model.
pub(super) fn logits(file: &Path) -> Vec<Vec<f32>> {
    let golden = candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
    let logits = |i| golden[&format!("logits.{i}")].flatten_all().unwrap().to_vec1().unwrap();
    (0..golden.len()).map(logits).collect()
}

#[test]
fn every_family_scores_as_transformers() {
    let names = names();
    assert_eq!(names.len(), 19);
    for name in names {
        let gguf = file(&format!("{name}.gguf"));
        let golden = logits(&file(&format!("{name}.safetensors")));
        // Weights in f16 are multiplied as they are, or as numbers of f32. With blocks, activations are rounded to 8 bits.
        let tolerance = if name.ends_with("-mxfp4") { 0.1 } else { 1e-4 };
        let sources = [(load_gguf(&gguf, &candle()).unwrap(), tolerance), (dequantised(&gguf), 1e-4)];
        for (source, tolerance) in sources {
            for (prompt, expected) in prompts().iter().zip(&golden) {
                let worst = difference(&scores(&source, prompt), expected);
                println!("{name:16} largest difference of a logit {worst:.1e}");
                assert!(worst <= tolerance, "{name}: {worst}");
            }
        }
    }
}

/// Past the original context, queries grow with their position.
#[test]
fn queries_grow_past_the_original_context() {
    let golden = file("mistral3-past.safetensors");
    let [expected] = &logits(&golden)[..] else { panic!("one prompt") };
    let prompt: Vec<TokenId> = (0..100).map(|i| 3 + i * i % 61).collect();
    let source = load_gguf(file("mistral3.gguf"), &candle()).unwrap();
    let worst = difference(&scores(&source, &prompt), expected);
    println!("largest difference of a logit {worst:.1e}");
    assert!(worst <= 1e-4, "{worst}");
}

/// Rotary positions reach as far as the file says.
#[test]
fn contexts_are_those_of_the_files() {
    for (name, context) in [("mistral3", 128), ("phi3-long", 128), ("olmo3", 128), ("falcon", 2048)] {
        assert_eq!(Gguf::open(file(&format!("{name}.gguf"))).unwrap().spec().context, context, "{name}");
    }
}
