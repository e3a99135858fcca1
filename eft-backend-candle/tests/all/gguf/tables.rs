//! Files whose matrices are of types that are looked up in tables, against transformers, which runs the numbers that the
//! package `gguf` dequantises them to. See `tables/make.py`.
use std::path::Path;

use eft_backend_candle::{Gguf, load_gguf};
use eft_models::Weights;

use super::dequantised;
use super::families::{logits, prompts};
use super::scores::{difference, scores};
use crate::device::candle;

#[test]
fn matrices_of_tables_score_as_their_numbers() {
    for name in ["of-256", "of-256-more", "of-32"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/gguf/tables");
        let (file, golden) =
            (folder.join(format!("{name}.gguf")), logits(&folder.join(format!("{name}.safetensors"))));
        let (source, exact) = (load_gguf(&file, &candle()).unwrap(), dequantised(&file));
        for (prompt, expected) in prompts().iter().zip(&golden) {
            let worst = difference(&scores(&exact, prompt), expected);
            let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let rounding = difference(&scores(&source, prompt), expected);
            println!(
                "{name}: {worst:.1e}; activations of 8 bits move a logit by {rounding:.1e}, of up to {largest:.1}"
            );
            assert!(worst <= 1e-4, "{name}: {worst}");
            assert!(rounding > 0.0 && rounding < 0.1 * largest, "{name}: {rounding} of {largest}");
        }
        // The weights stay as they are in the file.
        let size = std::fs::metadata(&file).unwrap().len();
        let bytes = Gguf::open(&file).unwrap().bytes();
        assert!(bytes <= size && bytes > size / 2, "{name}: {bytes} of {size}");
    }
}
