//! Files of tensors in the format safetensors: of a model, and of an adapter.
use std::path::Path;

use eft::models::{Adapter, Checkpoint};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::memory::refused;
use super::*;

/// A file of this header, and these data.
fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// Broken forms of a good file: what is broken, the file, and the words that the error must have beside the file's name.
/// `tensor` is the name of a matrix in it.
pub(super) fn broken(good: &[u8], tensor: &str) -> Vec<(String, Vec<u8>, Vec<String>)> {
    let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let (header, data) = good[8..].split_at(length);
    let fields: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let mut all = Vec::new();
    let mut add = |what: String, bytes: Vec<u8>, words: &[&str]| {
        all.push((what, bytes, words.iter().map(|word| (*word).to_owned()).collect()));
    };
    for cut in [0, 5, 8, 100, 8 + length, good.len() / 2, good.len() - 1] {
        add(format!("the first {cut} bytes"), good[..cut].to_vec(), &["truncated"]);
    }
    for length in [u64::MAX, 1 << 40, 1 << 27, good.len() as u64, length as u64 - 1, length as u64 + 1] {
        add(format!("a header of {length} bytes"), [&length.to_le_bytes(), &good[8..]].concat(), &[]);
    }
    add("more data".into(), [good, b"more"].concat(), &["its header describes"]);
    for (what, text) in [
        ("no JSON", "{".to_owned()),
        ("a list", "[]".into()),
        ("a number", "5".into()),
        ("nothing", String::new()),
        ("deep nesting", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("deep nesting of objects", format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000))),
    ] {
        add(format!("a header with {what}"), file(text.as_bytes(), data), &[]);
    }
    add("a header that is no text".into(), file(&[b"{\"\xff".as_slice(), &header[2..]].concat(), data), &[]);
    let entry = format!("{}:", json!(tensor));
    let twice = String::from_utf8(header.to_vec()).unwrap();
    let (before, after) = twice.split_once(&entry).unwrap();
    // Of several entries with one name, the last counts.
    let end = after.find('}').unwrap() + 1;
    let other = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,8]}"#;
    let twice = format!("{before}{entry}{},{entry}{other}{}", &after[..end], &after[end..]);
    add("a name twice".into(), file(twice.as_bytes(), data), &[tensor]);
    for (field, value) in [
        ("dtype", json!("F31")),
        ("dtype", json!(5)),
        ("dtype", json!(null)),
        ("dtype", json!("I64")),
        ("shape", json!(null)),
        ("shape", json!("many")),
        ("shape", json!([-1, 4])),
        ("shape", json!([1.5, 4])),
        ("shape", json!([])),
        ("shape", json!([0, 4])),
        ("shape", json!([1u64 << 32, 1u64 << 32])),
        ("shape", json!([1u64 << 60])),
        ("shape", json!([u64::MAX, 2])),
        ("data_offsets", json!(null)),
        ("data_offsets", json!([0])),
        ("data_offsets", json!([0, 1, 2])),
        ("data_offsets", json!([8, 4])),
        ("data_offsets", json!([0, 1u64 << 50])),
        ("data_offsets", json!([u64::MAX - 4, u64::MAX])),
        ("data_offsets", json!([-4, 0])),
    ] {
        let mut fields = fields.clone();
        fields[tensor][field] = value.clone();
        let header = Value::Object(fields).to_string();
        // With offsets past the end, the file is too short.
        let truncated = field == "data_offsets" && value[1].as_u64() > Some(1 << 40) && value[0] == 0;
        let words = if truncated { ["truncated"] } else { [tensor] };
        add(format!("{field} {value}"), file(header.as_bytes(), data), &words);
    }
    for (what, by) in [("some bytes of another", -4i64), ("a gap", 4)] {
        let mut fields = fields.clone();
        let (start, end) = (&fields[tensor]["data_offsets"][0], &fields[tensor]["data_offsets"][1]);
        let (start, end) = (start.as_u64().unwrap(), end.as_u64().unwrap());
        let moved = [start, end].map(|offset| offset as i64 + by);
        fields[tensor]["data_offsets"] = json!(moved);
        add(what.into(), file(Value::Object(fields).to_string().as_bytes(), data), &[]);
    }
    all
}

/// The error of reading all weights of a model.
pub(super) fn error_of_model(folder: &Path) -> Result<(), String> {
    let loaded = Loader::new(folder.to_str().unwrap()).load_on(CandleNn::new(Candle::cpu()));
    loaded.map(drop).map_err(|error| eft::error::with_sources(&error).to_string())
}

#[test]
fn files_of_models() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let path = folder.join("model.safetensors");
    let good = std::fs::read(&path).unwrap();
    assert!(error_of_model(&folder).is_ok());
    let name = "model.layers.1.mlp.up_proj.weight";
    let broken = broken(&good, name);
    assert!(broken.len() >= 40);
    for (what, bytes, words) in broken {
        std::fs::write(&path, &bytes).unwrap();
        let words: Vec<_> = words.iter().map(String::as_str).chain(["model.safetensors"]).collect();
        refused(&folder, &what, &words, || error_of_model(&folder));
    }
    // Files that are right by themselves, but not for this model.
    let tensors = SafeTensors::deserialize(&good).unwrap();
    let all = || tensors.tensors().into_iter();
    let small = TensorView::new(Dtype::F32, vec![1, 2], &[0; 8]).unwrap();
    let (shape, data) =
        (tensors.tensor(name).unwrap().shape().to_vec(), tensors.tensor(name).unwrap().data());
    let turned = vec![shape[1], shape[0]];
    let turned = TensorView::new(Dtype::F32, turned, data).unwrap();
    let bytes = vec![shape[0], shape[1], 4];
    let bytes = TensorView::new(Dtype::U8, bytes, data).unwrap();
    for (what, other) in
        [("missing", None), ("small", Some(small)), ("turned", Some(turned)), ("bytes", Some(bytes))]
    {
        let kept =
            all().filter(|(other, _)| other != name).chain(other.map(|other| (name.to_owned(), other)));
        std::fs::write(&path, safetensors::serialize(kept, None).unwrap()).unwrap();
        refused(&folder, what, &[name], || error_of_model(&folder));
    }
}

#[test]
fn files_of_adapters() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("eft-models/goldens");
    let dir = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(golden.join("qwen2-lora").join(file), dir.path().join(file)).unwrap();
    }
    let base = Checkpoint::open(golden.join("qwen2")).unwrap();
    let read = || {
        let adapter = Adapter::open(dir.path()).map_err(|error| error.to_string())?;
        let nn = CandleNn::new(Candle::cpu());
        let loaded = eft::models::DecoderEngine::with_adapters(nn, &base, &[adapter], None);
        loaded.map(drop).map_err(|error| error.to_string())
    };
    let path = dir.path().join("adapter_model.safetensors");
    let good = std::fs::read(&path).unwrap();
    assert_eq!(read(), Ok(()));
    let name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";
    for (what, bytes, words) in broken(&good, name) {
        std::fs::write(&path, &bytes).unwrap();
        let words: Vec<_> = words.iter().map(String::as_str).chain(["adapter_model.safetensors"]).collect();
        refused(dir.path(), &what, &words, read);
    }
}
