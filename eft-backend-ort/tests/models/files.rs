//! Tests of reading a model's files before the model runs.
use std::fs;

use eft_backend_ort::OnnxEngine;
use eft_backend_ort::model::{external_data, usual_paths};
use eft_core::Engine;
use proptest::prelude::*;

use crate::tiny::{exported, ort};

#[test]
fn files_of_weights_beside_a_graph_are_found() {
    assert_eq!(external_data(&exported("qwen2/onnx/model.onnx")).unwrap(), ["model.onnx_data"]);
    for within in ["llama/model.onnx", "llama-merged/decoder_model_merged.onnx"] {
        assert!(external_data(&exported(within)).unwrap().is_empty());
    }
    let missing = external_data(&exported("nothing.onnx")).unwrap_err();
    assert!(missing.to_string().contains("nothing.onnx"), "{missing}");
}

/// A model is named after its folder if its file has a usual name.
#[test]
fn names_distinguish_models() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tiny-llama");
    fs::create_dir_all(folder.join("onnx")).unwrap();
    for file in ["onnx/model.onnx", "model_fp32.onnx", "mine.onnx"] {
        fs::copy(exported("llama/model.onnx"), folder.join(file)).unwrap();
    }
    let name =
        |path: &str| OnnxEngine::load(dir.path().join(path), &ort(), None).unwrap().spec().name.clone();
    for path in ["tiny-llama", "tiny-llama/onnx", "tiny-llama/onnx/model.onnx", "tiny-llama/model_fp32.onnx"]
    {
        assert_eq!(name(path), "tiny-llama");
    }
    assert_eq!(name("tiny-llama/mine.onnx"), "mine");
    assert_eq!(usual_paths().next().unwrap(), "model.onnx");
}

#[test]
fn sizes_include_weights_beside_the_graph() {
    let bytes = |file: &str| fs::metadata(exported("qwen2").join(file)).unwrap().len();
    let engine = OnnxEngine::load(exported("qwen2"), &ort(), None).unwrap();
    assert_eq!(engine.spec().bytes, bytes("onnx/model.onnx") + bytes("onnx/model.onnx_data"));
}

proptest! {
    /// The search ends without a panic or an error, whatever the file holds.
    #[test]
    fn damaged_graphs_are_searched(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = fs::read(exported("qwen2/onnx/model.onnx")).unwrap();
        changes.iter().for_each(|(at, byte)| bytes[at.index(4000)] = *byte);
        bytes.truncate(cut.index(bytes.len()) + 1);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let _ = external_data(file.path()).unwrap();
    }
}

/// A model of graphs nested `levels` deep, the innermost of which has a weight in the file `data`.
fn nested(levels: usize) -> Vec<u8> {
    // Written from the last byte to the first, so that the length of a message is known when it is needed.
    let mut reversed: Vec<u8> = [b"\x0a\x08location".as_slice(), b"\x12\x04data"].concat();
    reversed.reverse();
    let within = |field: u8, reversed: &mut Vec<u8>| {
        let mut length = reversed.len();
        let mut bytes = vec![(field << 3) | 2];
        while length > 127 {
            bytes.push(length as u8 | 128);
            length >>= 7;
        }
        bytes.push(length as u8);
        reversed.extend(bytes.into_iter().rev());
    };
    within(13, &mut reversed);
    within(5, &mut reversed);
    for _ in 0..levels {
        [6, 5, 1].into_iter().for_each(|field| within(field, &mut reversed));
    }
    within(7, &mut reversed);
    reversed.reverse();
    reversed
}

#[test]
fn nested_graphs_are_followed_to_a_fixed_depth() {
    for (levels, found) in [(0, vec!["data"]), (5, vec!["data"]), (100_000, vec![])] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), nested(levels)).unwrap();
        assert_eq!(external_data(file.path()).unwrap(), found, "{levels} levels");
    }
}
