//! Kinds of blocks whose codes are looked up in tables, against the numbers that the package `gguf` dequantises them to.
//! See `goldens/make.py`.
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use eft_cpu::Instructions;
use eft_models::{Blocks, Dtype};

use super::products::{matrix, product_with};

const KINDS: [(&str, Blocks); 12] = [
    ("IQ1_S", Blocks::IQ1S),
    ("IQ1_M", Blocks::IQ1M),
    ("IQ2_XXS", Blocks::IQ2XXS),
    ("IQ2_XS", Blocks::IQ2XS),
    ("IQ2_S", Blocks::IQ2S),
    ("IQ3_XXS", Blocks::IQ3XXS),
    ("IQ3_S", Blocks::IQ3S),
    ("IQ4_NL", Blocks::IQ4NL),
    ("IQ4_XS", Blocks::IQ4XS),
    ("TQ1_0", Blocks::TQ1_0),
    ("TQ2_0", Blocks::TQ2_0),
    ("MXFP4", Blocks::MXFP4),
];

fn goldens() -> HashMap<String, Tensor> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/blocks.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The blocks of a kind in the goldens, with their numbers: random ones, and for some kinds one for every index.
fn blocks(goldens: &HashMap<String, Tensor>, name: &str) -> Vec<(Vec<u8>, Vec<f32>)> {
    let named = |suffix: &str| {
        let blocks = goldens.get(&format!("{name}{suffix}.blocks"))?;
        Some((bytes(blocks), numbers(&goldens[&format!("{name}{suffix}.numbers")])))
    };
    named("").into_iter().chain(named(".all")).collect()
}

#[test]
fn blocks_stand_for_the_numbers_of_the_package_gguf() {
    let goldens = goldens();
    for (name, kind) in KINDS {
        let cases = blocks(&goldens, name);
        assert!(!cases.is_empty(), "{name}");
        for (bytes, expected) in cases {
            assert_eq!(bytes.len() / kind.bytes() * kind.entries(), expected.len(), "{name}");
            let rows = expected.len() / 256;
            let all: Vec<u32> = (0..rows as u32).collect();
            let matrix = matrix(Dtype::Quantised(kind), bytes, rows, 256);
            for instructions in Instructions::available() {
                let got = instructions.run(|| matrix.rows(&all)).unwrap();
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    // Where a scale has more bits than f32 has beside those of the code, the last one is rounded.
                    let allowed = if kind == Blocks::IQ4XS { 2e-5 * (0.1 + expected.abs()) } else { 0.0 };
                    let close = (got - expected).abs() <= allowed;
                    assert!(close, "{name}, {instructions:?}, entry {i}: {got}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn products_match_those_of_the_numbers() {
    let goldens = goldens();
    let (outputs, columns) = (37, 512);
    let several: Vec<f32> = (0..9 * columns).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    // All as large as the largest, so that none is rounded, and sums of their products with the largest codes are greatest.
    let largest: Vec<f32> = (0..9 * columns).map(|i| if i % columns % 3 == 0 { -1.0 } else { 1.0 }).collect();
    for (name, kind) in KINDS {
        let (some, known) = blocks(&goldens, name).swap_remove(0);
        let count = outputs * columns / kind.entries();
        let repeated: Vec<u8> =
            some.chunks(kind.bytes()).cycle().step_by(3).take(count).flatten().copied().collect();
        let weights: Vec<f32> =
            known.chunks(kind.entries()).cycle().step_by(3).take(count).flatten().copied().collect();
        let matrix = matrix(Dtype::Quantised(kind), repeated, outputs, columns);
        let inputs = [(&several, 0.501 / 127.0), (&largest, 1e-5)];
        for (rows, (x, rounding)) in [1, 2, 4, 5, 9].into_iter().flat_map(|rows| inputs.map(|x| (rows, x))) {
            let x = &x[..rows * columns];
            for instructions in Instructions::available() {
                let out = product_with(instructions, x, &matrix);
                for (i, got) in out.iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let terms = x[row * columns..].iter().zip(&weights[output * columns..]).take(columns);
                    let (mut exact, mut size) = (0.0, 0.0);
                    for (x, weight) in terms {
                        exact += f64::from(*x) * f64::from(*weight);
                        size += f64::from(weight.abs());
                    }
                    // Activations of at most 1 are rounded by at most half of 1/127.
                    assert!(
                        (f64::from(*got) - exact).abs() <= rounding * size + 1e-6,
                        "{name}, {instructions:?}, {rows} rows, number {i}: {got}, not {exact}"
                    );
                }
            }
        }
    }
}
