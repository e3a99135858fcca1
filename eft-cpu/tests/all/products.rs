//! Products with every kind of weights, on every set of instructions, against candle's dequantised weights and sums in
//! f64.
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use eft_cpu::{Instructions, Matrix, ops, products};
use eft_models::{Blocks, Dtype, RawTensor};
use proptest::prelude::*;

const KINDS: [(Blocks, GgmlDType); 10] = [
    (Blocks::Q4_0, GgmlDType::Q4_0),
    (Blocks::Q4_1, GgmlDType::Q4_1),
    (Blocks::Q5_0, GgmlDType::Q5_0),
    (Blocks::Q5_1, GgmlDType::Q5_1),
    (Blocks::Q8_0, GgmlDType::Q8_0),
    (Blocks::Q2K, GgmlDType::Q2K),
    (Blocks::Q3K, GgmlDType::Q3K),
    (Blocks::Q4K, GgmlDType::Q4K),
    (Blocks::Q5K, GgmlDType::Q5K),
    (Blocks::Q6K, GgmlDType::Q6K),
];

/// Quantises weights by candle. Returns the bytes, and the weights that candle dequantises them to.
fn quantised(kind: (Blocks, GgmlDType), weights: &[f32], columns: usize) -> (Vec<u8>, Vec<f32>) {
    let tensor = Tensor::from_slice(weights, (weights.len() / columns, columns), &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&tensor, kind.1).unwrap();
    let plain = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (tensor.data().unwrap().into_owned(), plain)
}

pub(crate) fn matrix(dtype: Dtype, bytes: Vec<u8>, outputs: usize, columns: usize) -> Matrix {
    let raw = RawTensor { name: "w", shape: vec![outputs, columns], dtype, bytes: bytes.into() };
    Matrix::new(&raw).unwrap()
}

/// Multiplies rows with a matrix, with these instructions.
pub(crate) fn product_with(instructions: Instructions, x: &[f32], matrix: &Matrix) -> Vec<f32> {
    instructions.run(|| products(x, &[matrix]).remove(0))
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop_oneof![8 => -1.0f32..1.0, 1 => -30.0f32..30.0, 1 => Just(0.0)], count)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn quantised_products_match_those_of_dequantised_weights(
        weights in numbers(7 * 512), x in numbers(34 * 512),
        rows in prop_oneof![1usize..7, 7usize..35],
    ) {
        let (outputs, columns) = (7, 512);
        let x = &x[..rows * columns];
        for kind in KINDS {
            let (bytes, plain) = quantised(kind, &weights, columns);
            let matrix = matrix(Dtype::Quantised(kind.0), bytes, outputs, columns);
            let each = Instructions::available().into_iter();
            let mut all: Vec<_> = each.map(|instructions| product_with(instructions, x, &matrix)).collect();
            all.push(products(x, &[&matrix]).remove(0));
            for (row, x) in x.chunks(columns).enumerate() {
                for (output, weights) in plain.chunks(columns).enumerate() {
                    let exact: f64 = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    // An activation is rounded by at most half a step; a step is the largest of its group over 127.
                    let rounding: f64 = x.chunks(32).zip(weights.chunks(32)).map(|(x, weights)| {
                        let step = x.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
                        f64::from(step) * weights.iter().map(|w| f64::from(w.abs())).sum::<f64>()
                    }).sum();
                    for got in all.iter().map(|out| f64::from(out[row * outputs + output])) {
                        prop_assert!(
                            (got - exact).abs() <= 0.501 * rounding + 1e-3,
                            "{kind:?}, row {row}, output {output}: {got}, exactly {exact}, may differ by {rounding}",
                        );
                    }
                    // Sets of instructions differ only in the order of the sums.
                    let first = all[0][row * outputs + output];
                    for other in &all {
                        let other = other[row * outputs + output];
                        prop_assert!((first - other).abs() <= 1e-4 * (1.0 + rounding as f32), "{first}, {other}");
                    }
                }
            }
        }
    }

    /// Eight groups of columns are unpacked at once, of eight or sixteen outputs. Neither need divide a matrix.
    #[test]
    fn any_number_of_blocks_and_outputs_is_multiplied(
        weights in numbers(19 * 576), x in numbers(9 * 576), outputs in 1usize..=19, blocks in 1usize..=18, rows in 1usize..=9,
    ) {
        let columns = 32 * blocks;
        let (weights, x) = (&weights[..outputs * columns], &x[..rows * columns]);
        for kind in KINDS.into_iter().filter(|kind| kind.0.entries() == 32) {
            let (bytes, _) = quantised(kind, weights, columns);
            let whole = matrix(Dtype::Quantised(kind.0), bytes.clone(), outputs, columns);
            for instructions in Instructions::available() {
                let got = product_with(instructions, x, &whole);
                for (output, bytes) in bytes.chunks(bytes.len() / outputs).enumerate() {
                    // One block after another, each as a matrix of its own.
                    let each = bytes.chunks(kind.0.bytes()).enumerate().map(|(i, block)| {
                        let block = matrix(Dtype::Quantised(kind.0), block.to_vec(), 1, 32);
                        let x: Vec<_> = x.chunks(columns).flat_map(|x| &x[32 * i..][..32]).copied().collect();
                        product_with(instructions, &x, &block)
                    });
                    let sums = each.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect()).unwrap();
                    for (row, sum) in sums.into_iter().enumerate() {
                        let got = got[row * outputs + output];
                        prop_assert!((got - sum).abs() <= 1e-3 * (1.0 + sum.abs()), "{kind:?}: {got}, {sum}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_match_those_that_candle_dequantises(weights in numbers(3 * 512)) {
        for kind in KINDS {
            let (bytes, plain) = quantised(kind, &weights, 512);
            let matrix = matrix(Dtype::Quantised(kind.0), bytes, 3, 512);
            for instructions in Instructions::available() {
                let got = instructions.run(|| matrix.rows(&[2, 0])).unwrap();
                let expected = plain[1024..].iter().chain(&plain[..512]);
                for (got, expected) in got.iter().zip(expected) {
                    let close = (got - expected).abs() <= 1e-5 * (1.0 + expected.abs());
                    prop_assert!(close, "{kind:?}, {instructions:?}: {got}, {expected}");
                }
            }
        }
    }

    #[test]
    fn plain_products_match_sums_in_f64(
        weights in numbers(61 * 90), x in numbers(50 * 90), outputs in 1usize..=61, columns in 1usize..=90,
        rows in prop_oneof![1usize..=32, 33usize..=50],
    ) {
        let (weights, x) = (&weights[..outputs * columns], &x[..rows * columns]);
        for (dtype, candle) in [(Dtype::F32, DType::F32), (Dtype::F16, DType::F16), (Dtype::BF16, DType::BF16)] {
            let tensor = Tensor::from_slice(weights, weights.len(), &Device::Cpu).unwrap();
            let tensor = tensor.to_dtype(candle).unwrap();
            let numbers: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
            let bytes: Vec<u8> = match dtype {
                Dtype::F16 => tensor.to_vec1::<half::f16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::BF16 => tensor.to_vec1::<half::bf16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
                _ => weights.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            let matrix = matrix(dtype, bytes, outputs, columns);
            let mut all = vec![products(x, &[&matrix]).remove(0)];
            for instructions in Instructions::available() {
                all.push(product_with(instructions, x, &matrix));
            }
            for (i, got) in all.iter().flat_map(|out| out.iter().enumerate()) {
                let (x, weights) = (&x[i / outputs * columns..][..columns], &numbers[i % outputs * columns..][..columns]);
                let terms = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                prop_assert!((f64::from(*got) - exact).abs() <= 2e-6 * size, "{dtype:?}: {got}, {exact}, of {size}");
            }
            let row = matrix.rows(&[outputs as u32 - 1]).unwrap();
            prop_assert_eq!(&row[..], &numbers[(outputs - 1) * columns..]);
        }
    }
}

/// The largest codes and activations fill the integer sums most. The shapes exceed what is multiplied at once: sixteen
/// outputs, eight groups of columns, eight rows.
#[test]
fn products_with_the_largest_codes_do_not_overflow() {
    let (outputs, columns) = (21, 1280);
    for (kind, candle) in KINDS {
        let numbers: &[usize] = match kind {
            Blocks::Q4_0 | Blocks::Q5_0 | Blocks::Q8_0 => &[0],
            Blocks::Q4_1 | Blocks::Q5_1 | Blocks::Q4K | Blocks::Q5K => &[0, 2],
            Blocks::Q2K => &[80, 82],
            Blocks::Q3K => &[108],
            Blocks::Q6K => &[208],
            other => unreachable!("{other:?} is not a kind that candle knows"),
        };
        for (byte, factor) in [(0x00, 0), (0x7f, 0), (0x80, 0), (0xff, 0), (0x5a, 167)] {
            let count = outputs * columns / kind.entries() * kind.bytes();
            let mut bytes: Vec<u8> = (0..count).map(|i| byte ^ (i * factor / 3) as u8).collect();
            for (i, block) in bytes.chunks_mut(kind.bytes()).enumerate() {
                for at in numbers {
                    let number = half::f16::from_f32(0.25 + (i % 5) as f32 / 16.0);
                    block[*at..at + 2].copy_from_slice(&number.to_le_bytes());
                }
            }
            let tensor = qtensor_from_ggml(candle, &bytes, vec![outputs, columns], &Device::Cpu).unwrap();
            let plain: Vec<f32> =
                tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let matrix = matrix(Dtype::Quantised(kind), bytes, outputs, columns);
            for rows in [1, 2, 3, 4, 5, 9, 33] {
                // All entries are as large as the largest, so that none is rounded.
                let sign = |i: usize| {
                    if i / columns % 3 == i % columns % (1 + i / columns % 5) { 1.0 } else { -1.0 }
                };
                let x: Vec<f32> = (0..rows * columns).map(sign).collect();
                for instructions in Instructions::available() {
                    let out = product_with(instructions, &x, &matrix);
                    for (i, got) in out.iter().enumerate() {
                        let (x, weights) = (&x[i / outputs * columns..], &plain[i % outputs * columns..]);
                        let terms = x.iter().zip(weights).take(columns);
                        let (mut exact, mut size) = (0.0, 0.0);
                        for (x, weight) in terms {
                            exact += f64::from(*x) * f64::from(*weight);
                            size += f64::from(weight.abs());
                        }
                        assert!(
                            (f64::from(*got) - exact).abs() <= 1e-5 * size + 1e-6,
                            "{kind:?} of {byte:#x}, {instructions:?}, {rows} rows, number {i}: {got}, not {exact}",
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_are_not_lost() {
    for kind in KINDS {
        // Nine blocks of 32 entries are more than are unpacked at once.
        let columns = if kind.0.entries() == 32 { 288 } else { 256 };
        let weights: Vec<f32> = (0..4 * columns).map(|i| i as f32 / 1024.0 - 0.5).collect();
        let (bytes, _) = quantised(kind, &weights, columns);
        let matrix = matrix(Dtype::Quantised(kind.0), bytes, 4, columns);
        for (non_finite, rows) in [(f32::NAN, 2), (f32::INFINITY, 4), (f32::NEG_INFINITY, 9)] {
            let mut x = vec![1.0; rows * columns];
            x[2 * columns - 1] = non_finite;
            for instructions in Instructions::available() {
                let out = product_with(instructions, &x, &matrix);
                for (row, out) in out.chunks(4).enumerate() {
                    assert!(
                        out.iter().all(|x| x.is_nan() == (row == 1) && !x.is_infinite()),
                        "{kind:?}, {instructions:?}: {out:?}"
                    );
                }
            }
            let norms = ops::rms_norm(&x, &vec![1.0; columns], 1e-5);
            assert!(norms[columns..].iter().any(|x| x.is_nan()));
        }
    }
}

/// Else a text would depend on whether its tokens were computed one by one or several at once, as in speculative decoding.
#[test]
fn products_do_not_depend_on_the_number_of_rows() {
    let numbers =
        |count: usize| (0..count).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect::<Vec<_>>();
    let with_all = |kind: (Blocks, GgmlDType), outputs: usize, columns: usize, rows: usize| {
        let (bytes, _) = quantised(kind, &numbers(outputs * columns), columns);
        let (matrix, x) =
            (matrix(Dtype::Quantised(kind.0), bytes, outputs, columns), numbers(rows * columns));
        for instructions in Instructions::available() {
            let all = product_with(instructions, &x, &matrix);
            for few in [1, 2, 5, 8] {
                let each = x.chunks(few * columns).map(|x| product_with(instructions, x, &matrix));
                assert_eq!(all, each.collect::<Vec<_>>().concat(), "{kind:?}, {instructions:?}, {few} rows");
            }
        }
    };
    // More rows than are multiplied with the same unpacked weights, and longer rows, of which fewer are.
    KINDS.into_iter().for_each(|kind| with_all(kind, 21, 256, 131));
    with_all((Blocks::Q8_0, GgmlDType::Q8_0), 3, 45_056, 20);
}

/// The shapes are those at which something ends that is multiplied at once: vectors of 8 or 16 outputs and three of these, 4, 6 or 8 rows,
/// 1,024 columns. More than 32 rows are multiplied in another way than fewer.
#[test]
fn plain_products_of_many_shapes() {
    let numbers =
        |count: usize| (0..count).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect::<Vec<_>>();
    for columns in [1, 3, 8, 61, 1023, 1024, 1025, 2050] {
        let outputs: &[usize] = if columns > 100 { &[9, 49] } else { &[1, 8, 9, 17, 25, 48, 49, 97] };
        for &outputs in outputs {
            // These are the same in bf16.
            let weights: Vec<_> =
                numbers(outputs * columns).into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect();
            let f32_bytes: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
            let bf16_bytes = f32_bytes.chunks(4).flat_map(|bytes| [bytes[2], bytes[3]]).collect();
            let all = [(Dtype::F32, f32_bytes.clone()), (Dtype::BF16, bf16_bytes)];
            for (dtype, bytes) in all {
                let matrix = matrix(dtype, bytes, outputs, columns);
                for rows in [2, 3, 4, 5, 6, 7, 8, 13, 32, 33, 36, 37, 41] {
                    let x = numbers(rows * columns);
                    for instructions in Instructions::available() {
                        let got = product_with(instructions, &x, &matrix);
                        let each = x.chunks(columns).flat_map(|x| product_with(instructions, x, &matrix));
                        for (i, (got, alone)) in got.iter().zip(each).enumerate() {
                            let same = got.to_bits() == alone.to_bits();
                            assert!(
                                same || rows > 32 && (got - alone).abs() < 1e-5 * columns as f32,
                                "{outputs} × {columns} in {dtype:?}, {rows} rows, {instructions:?}, {i}: {got}, {alone}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// In a pass, with work for several threads.
#[test]
fn parts_of_plain_products_are_where_they_belong() {
    let (outputs, columns, rows) = (700, 100, 80);
    let weights: Vec<_> = (0..outputs * columns).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
    let bytes = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
    let matrix = matrix(Dtype::F32, bytes, outputs, columns);
    let mut x: Vec<f32> = (0..rows * columns).map(|i| ((i * 31) % 103) as f32 / 50.0 - 1.0).collect();
    x[40 * columns + 7] = f32::NAN;
    x[50 * columns + 7] = f32::INFINITY;
    let out = eft_cpu::pass(|| products(&x, &[&matrix, &matrix]));
    assert_eq!(format!("{:?}", out[0]), format!("{:?}", out[1]));
    for (i, got) in out[0].iter().enumerate() {
        let (x, weights) =
            (&x[i / outputs * columns..][..columns], &weights[i % outputs * columns..][..columns]);
        let exact: f64 = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
        let close = (f64::from(*got) - exact).abs() < 1e-3 || f64::from(*got) == exact;
        assert!(close || got.is_nan() && exact.is_nan(), "{i}: {got}, {exact}");
    }
}

#[test]
fn rows_without_finite_or_normal_numbers_are_multiplied() {
    for kind in KINDS {
        let weights: Vec<f32> = (0..4 * 256).map(|i| i as f32 / 1024.0 - 0.5).collect();
        let matrix = matrix(Dtype::Quantised(kind.0), quantised(kind, &weights, 256).0, 4, 256);
        for instructions in Instructions::available() {
            for non_finite in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let out = product_with(instructions, &[non_finite; 512], &matrix);
                assert!(out.iter().all(|x| x.is_nan()), "{kind:?}, {instructions:?}: {out:?}");
            }
            let tiny: Vec<f32> = (0..512).map(|i| if i % 3 == 0 { -1e-38 } else { 1e-38 }).collect();
            let out = product_with(instructions, &tiny, &matrix);
            assert!(out.iter().all(|x| x.abs() <= 1e-33), "{kind:?}, {instructions:?}: {out:?}");
            assert!(product_with(instructions, &[], &matrix).is_empty());
        }
    }
}

#[test]
fn tensors_that_are_not_matrices_of_whole_blocks_are_refused() {
    let raw = |shape: &[usize], dtype, bytes: usize| RawTensor {
        name: "w",
        shape: shape.into(),
        dtype,
        bytes: vec![0; bytes].into(),
    };
    let kind = Dtype::Quantised(Blocks::Q4K);
    for wrong in [
        raw(&[256], kind, 144),
        raw(&[1, 255], kind, 144),
        raw(&[2, 256], kind, 144),
        raw(&[4, 0], Dtype::F32, 0),
    ] {
        assert!(Matrix::new(&wrong).is_none(), "{wrong:?}");
    }
    assert!(Matrix::new(&raw(&[2, 256], kind, 288)).unwrap().rows(&[2]).is_none());
}

/// Rows that are unpaired while they multiply are those that are unpaired in a copy.
#[test]
fn unpaired_matrices_multiply_as_reordered_ones() {
    let (outputs, columns, head) = (4096, 32, 8);
    let weights: Vec<_> = (0..outputs * columns).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
    let (kind, x) = ((Blocks::Q8_0, GgmlDType::Q8_0), &weights[..40 * columns]);
    let bytes = quantised(kind, &weights, columns).0.into();
    let raw = RawTensor { name: "w", shape: vec![outputs, columns], dtype: Dtype::Quantised(kind.0), bytes };
    let (copied, stored) = (Matrix::new(&raw.unpaired(head)).unwrap(), Matrix::new(&raw).unwrap());
    let unpaired = stored.clone().unpaired(head).unwrap();
    let rows = [0, 1, 2, 4, 7, 8, 13, 4095];
    assert_eq!(unpaired.rows(&rows), copied.rows(&rows));
    assert_ne!(unpaired.rows(&rows), stored.rows(&rows));
    assert!(unpaired.rows(&[4096]).is_none());
    for x in [&x[..columns], &x[..5 * columns], x] {
        // On the pool, many products are reordered in parallel.
        rayon::scope(|_| {
            let expected = [&copied, &stored].map(|matrix| products(x, &[matrix]).remove(0));
            let got = products(x, &[&unpaired, &stored]);
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() <= 1e-4, "{got}, {expected}");
            }
        });
    }
    for head in [0, 3, 24] {
        assert!(stored.clone().unpaired(head).is_none(), "{head}");
    }
    assert!(unpaired.unpaired(head).is_none(), "twice");
}
