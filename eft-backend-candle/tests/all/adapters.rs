//! Damaged adapters: an error names the file and the tensor or field; nothing panics, and nothing is silently ignored.
use std::path::{Path, PathBuf};

use eft_backend_candle::CandleNn;
use eft_models::{Adapter, Checkpoint, DecoderEngine, Error};
use proptest::prelude::*;
use safetensors::SafeTensors;

use crate::device::candle;

const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "eft-models", "goldens", name].iter().collect()
}

/// Returns a copy of an adapter, to be damaged.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        std::fs::copy(golden("qwen2-lora").join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn load(folder: &Path) -> Result<(), Error> {
    let base = Checkpoint::open(golden("qwen2"))?;
    let adapter = Adapter::open(folder)?;
    DecoderEngine::with_adapters(CandleNn::new(candle()), &base, &[adapter], None).map(drop)
}

#[test]
fn a_low_rank_pair_without_one_of_its_matrices_is_refused() {
    let folder = copy();
    let file = folder.path().join(FILES[1]);
    let bytes = std::fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let lost = tensors.names().into_iter().find(|name| name.contains("lora_B")).unwrap().to_string();
    let rest = tensors.tensors().into_iter().filter(|(name, _)| *name != lost);
    safetensors::serialize_to_file(rest, None, &file).unwrap();
    match load(folder.path()) {
        Err(Error::BadTensor { file, tensor, reason }) => {
            assert!(file.ends_with(FILES[1]) && reason.contains("missing"), "{reason}");
            assert_eq!(tensor, lost);
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_adapters_never_panic(
        file in prop::sample::select(&FILES[..]),
        cut in prop::option::of(0usize..12_000),
        flips in prop::collection::vec((0usize..3_000, any::<u8>()), 0..4),
    ) {
        let folder = copy();
        let damaged = folder.path().join(file);
        let untouched = std::fs::read(&damaged).unwrap();
        let mut bytes = untouched.clone();
        bytes.truncate(cut.unwrap_or(usize::MAX));
        for (at, with) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
        }
        std::fs::write(&damaged, &bytes).unwrap();
        let loaded = load(folder.path());
        prop_assert!(loaded.is_ok() || bytes != untouched);
        if bytes.len() < untouched.len() {
            prop_assert!(loaded.is_err(), "a truncated file was accepted");
        }
    }
}
