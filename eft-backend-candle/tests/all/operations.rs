//! Tests of candle's types and layouts, which the conformance kit cannot check.
use candle_core::{DType, Device, Tensor};
use eft_backend_candle::{Candle, CandleNn, to_error};
use eft_core::backend::score_rows;
use eft_core::conformance::reference;
use eft_core::{Backend, Error, Filter, Host, Pool, ScoreRow, Term};
use eft_models::Nn;
use eft_models::conformance::ReferenceNn;

use crate::device::candle;

fn both() -> [Candle; 2] {
    [candle(), Candle::cpu().generic(true)]
}

/// Returns numbers that look like logits, as a function of the seed.
fn noise(width: usize, seed: u32) -> Vec<f32> {
    let hash =
        |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
    (0..width as u32).map(|i| (hash(i) >> 8) as f32 / (1 << 24) as f32 * 12.0 - 6.0).collect()
}

fn matrix(rows: &[&[f32]]) -> Tensor {
    Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

fn download(candle: &Candle, tensor: &Tensor) -> Vec<f32> {
    let (height, width) = candle.shape(tensor);
    candle.download(&score_rows(tensor, height), width).unwrap()
}

#[test]
fn scores_of_other_types_are_combined_in_f32() {
    let width = 3000;
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let rows: Vec<_> =
            (0..3).map(|seed| matrix(&[&noise(width, seed)]).to_dtype(dtype).unwrap()).collect();
        for candle in both() {
            let stored: Vec<_> = rows.iter().map(|row| download(&candle, row)).collect();
            let weights = [1.0, 0.7, -0.7];
            let terms: Vec<_> = rows
                .iter()
                .zip(weights)
                .map(|(row, weight)| Term { weight, rows: vec![ScoreRow::new(row, 0)] })
                .collect();
            let sum = candle.linear(&terms, width).unwrap();
            assert_eq!(sum.dtype(), DType::F32);
            let terms: Vec<_> = weights.iter().zip(&stored).map(|(w, row)| (*w, &row[..])).collect();
            for (got, expected) in download(&candle, &sum).iter().zip(reference::linear(&terms)) {
                assert!((f64::from(*got) - expected).abs() < 1e-5, "{dtype:?}: {got}, {expected}");
            }
            let (token, log_prob) = reference::argmax(&stored[0]);
            let pick = candle.argmax(&[ScoreRow::new(&rows[0], 0)], width).unwrap()[0];
            assert_eq!(pick.token, token);
            assert!((f64::from(pick.log_prob) - log_prob).abs() < 1e-4);
        }
    }
}

#[test]
fn rows_may_have_any_layout() {
    let width = 700;
    let stored: Vec<Vec<f32>> = (0..4).map(|seed| noise(width, seed)).collect();
    let rows: Vec<_> = stored.iter().map(Vec::as_slice).collect();
    let plain = matrix(&rows);
    let columns = plain.t().unwrap().contiguous().unwrap().t().unwrap();
    let halves = [matrix(&rows[..1]), matrix(&rows[1..])];
    for candle in both() {
        let asked = [
            ScoreRow::new(&columns, 2),
            ScoreRow::new(&halves[1], 0),
            ScoreRow::new(&plain, 0),
            ScoreRow::new(&plain, 1),
        ];
        let expected: Vec<_> = [2, 1, 0, 1].into_iter().flat_map(|i| &stored[i][..650]).copied().collect();
        assert_eq!(candle.download(&asked, 650).unwrap(), expected);
        let picks = candle.argmax(&asked, 650).unwrap();
        let tokens: Vec<_> = picks.iter().map(|pick| pick.token).collect();
        assert_eq!(tokens, [2, 1, 0, 1].map(|i| reference::argmax(&stored[i][..650]).0));
    }
}

#[test]
fn results_do_not_share_memory_with_their_operands() {
    for candle in both() {
        let scores = matrix(&[&[1.0, 2.0]]);
        let rows = [ScoreRow::new(&scores, 0)];
        let same = [
            candle.linear(&[Term { weight: 1.0, rows: rows.to_vec() }], 2).unwrap(),
            candle.filter(&rows, &Filter::default(), 2).unwrap(),
            candle.edit(&rows, &[vec![]], 2).unwrap(),
        ];
        scores.zero_set().unwrap();
        same.iter().for_each(|same| assert_eq!(download(&candle, same), [1.0, 2.0]));
    }
}

#[test]
fn no_rows_give_no_rows_and_never_reach_a_gpu() {
    let width = 7;
    let filter = Filter { top_k: Some(2), ..Filter::default() };
    for candle in both() {
        let none = [Term { weight: -0.5, rows: vec![] }];
        let results = [
            candle.upload(&[], width),
            candle.linear(&none, width),
            candle.log_softmax(&[], width),
            candle.pool(&[Term { weight: 0.5, rows: vec![] }], Pool::Max, width),
            candle.clamp(&[], -1.0, 1.0, width),
            candle.filter(&[], &filter, width),
            candle.choose(&[], &[], None, width),
            candle.edit(&[], &[], width),
            candle.residual(&[], &[], width),
        ];
        for (index, result) in results.into_iter().enumerate() {
            let empty = result.unwrap();
            assert_eq!(candle.shape(&empty), (0, width), "operation {index}");
            // GPUs can neither hold nor make an empty tensor.
            assert!(empty.device().is_cpu(), "operation {index}");
        }
        assert!(candle.download(&[], width).unwrap().is_empty());
        assert!(candle.argmax(&[], width).unwrap().is_empty());
        assert!(candle.draw(&[], &[], width).unwrap().is_empty());
        assert!(candle.log_probs(&[], &[], width).unwrap().is_empty());
        assert!(candle.top(&[], 3, width).unwrap().is_empty());
        assert!(candle.log_normalizers(&[], width).unwrap().is_empty());
    }
}

#[test]
fn tensors_that_are_not_matrices_are_refused() {
    let cube = Tensor::zeros((2, 2, 2), DType::F32, &Device::Cpu).unwrap();
    for candle in both() {
        let refused = candle.argmax(&[ScoreRow::new(&cube, 0)], 2);
        assert!(matches!(refused, Err(Error::Shape { .. })));
        assert!(matches!(candle.upload(&[], 0), Err(Error::Shape { .. })));
    }
}

#[test]
fn errors_name_candle() {
    let failed = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap().narrow(0, 5, 1).map_err(to_error);
    assert!(matches!(failed, Err(Error::Backend { backend: "candle", .. })));
    let backend = Candle::from(Device::Cpu);
    assert_eq!(format!("{backend:?}"), "Candle { device: Cpu, generic: false, .. }");
    assert!(backend.device().is_cpu());
}

#[test]
fn norms_treat_each_run_of_their_width_by_itself() {
    let (weight, bias, x) = ([1.0, 2.0, 0.5], [0.0, -1.0, 3.0], noise(12, 5));
    let constant = |numbers: &[f32], width| ReferenceNn.constant(numbers, width).unwrap();
    let (wide, of_weight, of_bias) = (constant(&x, 6), constant(&weight, 3), constant(&bias, 3));
    let normed = ReferenceNn.layer_norm(&wide, &of_weight, &of_bias, 1e-5).unwrap();
    let expected = Host.download(&score_rows(&normed, 2), 6).unwrap();

    let vector = |numbers: &[f32]| Tensor::new(numbers, &Device::Cpu).unwrap();
    let (weight, bias) = (vector(&weight), vector(&bias));
    let rows = |width: usize| matrix(&x.chunks(width).collect::<Vec<_>>());
    for candle in both() {
        let nn = CandleNn::new(candle.clone());
        let layer_norm = |x: &Tensor| download(&candle, &nn.layer_norm(x, &weight, &bias, 1e-5).unwrap());
        let rms_norm = |x: &Tensor| download(&candle, &nn.rms_norm(x, &weight, 1e-5).unwrap());
        assert_eq!(layer_norm(&rows(6)), layer_norm(&rows(3)));
        assert_eq!(rms_norm(&rows(6)), rms_norm(&rows(3)));
        for (got, expected) in layer_norm(&rows(6)).iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-5, "{got}, not {expected}");
        }
    }
}
