//! Models that are split into several files.
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use eft_backend_candle::{Gguf, load_gguf};
use eft_models::{Error, Weights};

use super::scores::{Texts, difference, scores};
use super::tiny::{Fields, Tensors, fields, folder, tensors, write};
use crate::device::candle;

/// Writes a model in parts, as llama.cpp's `gguf-split` does: the first has the metadata.
fn write_parts(dir: &Path, count: u16) -> Vec<PathBuf> {
    let all: Vec<_> = tensors("llama").into_iter().collect();
    let part = |number: u16| {
        let mut own = if number == 0 { fields("llama") } else { Fields::new() };
        own.insert("split.no".into(), Value::U16(number));
        own.insert("split.count".into(), Value::U16(count));
        own.insert("split.tensors.count".into(), Value::I32(all.len() as i32));
        let held =
            all.iter().enumerate().filter(|(index, _)| index % usize::from(count) == usize::from(number));
        let held: Tensors = held.map(|(_, (name, tensor))| (name.clone(), tensor.clone())).collect();
        let file = dir.join(format!("tiny-{:05}-of-{count:05}.gguf", number + 1));
        write(&file, &own, &held, GgmlDType::F32);
        file
    };
    (0..count).map(part).collect()
}

#[test]
fn all_parts_are_loaded_whichever_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let parts = write_parts(dir.path(), 3);
    let whole = dir.path().join("whole.gguf");
    write(&whole, &fields("llama"), &tensors("llama"), GgmlDType::F32);
    let prompt = &Texts::read(&folder("llama").join("golden.json")).prompts[0];
    let expected = scores(&load_gguf(&whole, &candle()).unwrap(), prompt);
    for part in &parts {
        let source = load_gguf(part, &candle()).unwrap();
        assert_eq!(source.name(), "tiny");
        assert_eq!(difference(&scores(&source, prompt), &expected), 0.0);
    }
    assert_eq!(Gguf::open(&parts[1]).unwrap().bytes(), Gguf::open(&whole).unwrap().bytes());
}

#[test]
fn a_missing_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let parts = write_parts(dir.path(), 3);
    let refused = |file: &Path, field: &str, word: &str| match Gguf::open(file).map(drop) {
        Err(Error::Config { field: found, reason, .. }) => {
            assert_eq!(found, field);
            assert!(reason.contains(word), "{reason}");
        }
        other => panic!("{other:?}"),
    };
    // The second part in the place of the third.
    std::fs::copy(&parts[1], &parts[2]).unwrap();
    refused(&parts[0], "split.no", "is 1; expected 2");
    std::fs::remove_file(&parts[2]).unwrap();
    refused(&parts[0], "split.count", "tiny-00003-of-00003.gguf is missing");
    // A part whose name does not say where the others are.
    let renamed = dir.path().join("renamed.gguf");
    std::fs::copy(&parts[0], &renamed).unwrap();
    refused(&renamed, "split.count", "-00001-of-00003.gguf");
}
