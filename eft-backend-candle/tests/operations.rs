//! What the kit leaves out: types and layouts of candle's own, and the extremes of `f32`.
use candle_core::{DType, Device, Tensor};
use eft_backend_candle::{Candle, to_error};
use eft_core::backend::rows_of;
use eft_core::conformance::naive;
use eft_core::{Backend, Edit, Error, Filter, Host, Pool, Row, Term, TokenMask};

const NONE: f32 = f32::NEG_INFINITY;

fn both() -> [Candle; 2] {
    [Candle::cpu(), Candle::cpu().generic(true)]
}

/// Numbers that look like logits: different for each seed, the same for the same.
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
    candle.download(&rows_of(tensor, height), width).unwrap()
}

#[test]
fn half_precision_is_combined_in_single() {
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
                .map(|(row, weight)| Term { weight, rows: vec![Row::new(row, 0)] })
                .collect();
            let sum = candle.linear(&terms, width).unwrap();
            assert_eq!(sum.dtype(), DType::F32);
            let terms: Vec<_> = weights.iter().zip(&stored).map(|(w, row)| (*w, &row[..])).collect();
            for (got, expected) in download(&candle, &sum).iter().zip(naive::linear(&terms)) {
                assert!((f64::from(*got) - expected).abs() < 1e-5, "{dtype:?}: {got}, {expected}");
            }
            let (token, log_prob) = naive::argmax(&stored[0]);
            let pick = candle.argmax(&[Row::new(&rows[0], 0)], width).unwrap()[0];
            assert_eq!(pick.token, token);
            assert!((f64::from(pick.log_prob) - log_prob).abs() < 1e-4);
        }
    }
}

#[test]
fn rows_may_lie_in_any_layout() {
    let width = 700;
    let stored: Vec<Vec<f32>> = (0..4).map(|seed| noise(width, seed)).collect();
    let rows: Vec<_> = stored.iter().map(Vec::as_slice).collect();
    let plain = matrix(&rows);
    let columns = plain.t().unwrap().contiguous().unwrap().t().unwrap();
    let halves = [matrix(&rows[..1]), matrix(&rows[1..])];
    for candle in both() {
        let asked =
            [Row::new(&columns, 2), Row::new(&halves[1], 0), Row::new(&plain, 0), Row::new(&plain, 1)];
        let expected: Vec<_> = [2, 1, 0, 1].into_iter().flat_map(|i| &stored[i][..650]).copied().collect();
        assert_eq!(candle.download(&asked, 650).unwrap(), expected);
        let picks = candle.argmax(&asked, 650).unwrap();
        let tokens: Vec<_> = picks.iter().map(|pick| pick.token).collect();
        assert_eq!(tokens, [2, 1, 0, 1].map(|i| naive::argmax(&stored[i][..650]).0));
    }
}

#[test]
fn infinity_subtracted_does_not_exclude() {
    let (plain, infinite) = (matrix(&[&[1.0, 2.0]]), matrix(&[&[f32::INFINITY, 0.0]]));
    let term = |weight, tensor| Term { weight, rows: vec![Row::new(tensor, 0)] };
    for candle in both() {
        let sum = candle.linear(&[term(1.0, &plain), term(-0.5, &infinite)], 2).unwrap();
        let sum = download(&candle, &sum);
        assert!(sum[0].is_nan() && sum[1] == 2.0, "{sum:?}");
    }
}

#[test]
fn results_are_not_the_memory_of_their_rows() {
    for candle in both() {
        let scores = matrix(&[&[1.0, 2.0]]);
        let rows = [Row::new(&scores, 0)];
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
fn the_largest_numbers_stay_sound() {
    let row = [3e38, -3e38, 3e38, NONE, 0.0];
    let tensor = matrix(&[&row]);
    let rows = [Row::new(&tensor, 0)];
    for candle in both() {
        let normal = download(&candle, &candle.log_softmax(&rows, 5).unwrap());
        assert!((normal[0] + 2f32.ln()).abs() < 1e-6 && normal.iter().all(|x| !x.is_nan()), "{normal:?}");
        assert_eq!(candle.draw(&rows, &[0.7], 5).unwrap()[0].token, 2);
        let cold = Filter { temperature: 0.5, top_p: Some(0.6), ..Filter::default() };
        let kept = download(&candle, &candle.filter(&rows, &cold, 5).unwrap());
        naive::check_filter(&row, &cold, &kept, 1e-5).unwrap();
        let first = Filter { top_k: Some(1), ..Filter::default() };
        let kept = download(&candle, &candle.filter(&rows, &first, 5).unwrap());
        assert_eq!(kept, [3e38, NONE, NONE, NONE, NONE]);
    }
}

#[test]
fn top_k_is_exact_whatever_the_scores() {
    // Both zeros, neighbours, subnormal numbers, the ends of the range.
    let tiny = f32::from_bits(1);
    let one_up = 1f32.next_up();
    let values = [0.0, -0.0, tiny, -tiny, 1.0, one_up, -1.0, -one_up, f32::MAX, f32::MIN, 1e-38, 64.0, NONE];
    let row: Vec<_> = (0..1500).map(|i| values[i * 7 % values.len()]).collect();
    let tensor = matrix(&[&row, &noise(1500, 3)]);
    let rows = rows_of::<Candle>(&tensor, 2);
    let uploaded = Host.upload(&download(&Candle::cpu(), &tensor), 1500).unwrap();
    for candle in both() {
        for k in [1, 2, 115, 116, 117, 300, 500, 700, 900, 1100, 1380, 1384, 1385, 1386, 1499, 1500] {
            let filter = Filter { top_k: Some(k), ..Filter::default() };
            let got = candle.filter(&rows, &filter, 1500).unwrap();
            let expected = Host.filter(&rows_of(&uploaded, 2), &filter, 1500).unwrap();
            let expected = Host.download(&rows_of(&expected, 2), 1500).unwrap();
            assert_eq!(download(&candle, &got), expected, "{k}");
            let got = candle.top(&rows, k, 1500).unwrap();
            let expected = Host.top(&rows_of(&uploaded, 2), k, 1500).unwrap();
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert_eq!(got.token, expected.token, "{k}");
            }
            assert_eq!(
                got.iter().map(Vec::len).collect::<Vec<_>>(),
                expected.iter().map(Vec::len).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn an_excluded_token_is_never_drawn() {
    let mut row = noise(5000, 1);
    row.iter_mut().enumerate().filter(|(i, _)| i % 512 > 3).for_each(|(_, x)| *x = NONE);
    row[4990..].fill(NONE);
    let tensor = matrix(&[&row]);
    for candle in both() {
        for i in 0..200 {
            let uniform = (f64::from(i) + 0.999_999) / 200.0;
            let pick = candle.draw(&[Row::new(&tensor, 0)], &[uniform], 5000).unwrap()[0];
            naive::check_draw(&row, uniform, pick.token, 1e-6).unwrap();
        }
    }
}

#[test]
fn edits_of_many_rows_at_once() {
    let width = 130;
    let stored: Vec<Vec<f32>> = (0..3).map(|seed| noise(width, seed)).collect();
    let tensor = matrix(&stored.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mask = |step: usize| Edit::Allow(std::sync::Arc::new((0..200).step_by(step).collect::<TokenMask>()));
    let repetition = |tokens: &[u32], penalty| Edit::Repetition { tokens: tokens.to_vec(), penalty };
    let edits = [
        vec![Edit::Bias(vec![(3, 1.5), (129, NONE), (3, 0.25)]), mask(3), repetition(&[0, 3, 7], 1.7)],
        vec![],
        vec![mask(7), Edit::Bias(vec![(7, -20.0)]), repetition(&[7, 14], 2.5), mask(2)],
    ];
    for candle in both() {
        let got = download(&candle, &candle.edit(&rows_of(&tensor, 3), &edits, width).unwrap());
        for (got, (row, edits)) in got.chunks(width).zip(stored.iter().zip(&edits)) {
            for (got, expected) in got.iter().zip(naive::edit(row, edits)) {
                assert!(f64::from(*got) == expected || (f64::from(*got) - expected).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn normalizers_of_unsound_rows() {
    let tensor =
        matrix(&[&[NONE, NONE], &[NONE, f32::NAN], &[f32::NAN, 0.0], &[f32::INFINITY, 0.0], &[NONE, 0.5]]);
    for candle in both() {
        let got = candle.log_normalizers(&rows_of(&tensor, 5), 2).unwrap();
        assert_eq!((got[0], got[4]), (NONE, 0.5));
        assert!(got[1..4].iter().all(|x| x.is_nan()), "{got:?}");
    }
}

#[test]
fn no_rows_make_no_rows() {
    for candle in both() {
        let none: &[Row<'_, Candle>] = &[];
        let term = Term { weight: 1.0, rows: vec![] };
        let pools = candle.pool(std::slice::from_ref(&term), Pool::Max, 4).unwrap();
        let sums = candle.linear(&[term.clone(), term], 4).unwrap();
        let filter = Filter { top_k: Some(2), top_p: Some(0.5), ..Filter::default() };
        let filtered = candle.filter(none, &filter, 4).unwrap();
        let normal = candle.log_softmax(none, 4).unwrap();
        let chosen = candle.choose(none, none, None, 4).unwrap();
        let edited = candle.edit(none, &[], 4).unwrap();
        let rest = candle.residual(none, none, 4).unwrap();
        for tensor in [pools, sums, filtered, normal, chosen, edited, rest] {
            assert_eq!(candle.shape(&tensor), (0, 4));
        }
        assert!(candle.argmax(none, 4).unwrap().is_empty() && candle.draw(none, &[], 4).unwrap().is_empty());
        assert!(candle.top(none, 3, 4).unwrap().is_empty());
        assert!(candle.log_probs(none, &[], 4).unwrap().is_empty());
        assert!(candle.log_normalizers(none, 4).unwrap().is_empty());
        assert!(candle.download(none, 4).unwrap().is_empty());
    }
}

#[test]
fn what_is_no_matrix_is_refused() {
    let cube = Tensor::zeros((2, 2, 2), DType::F32, &Device::Cpu).unwrap();
    for candle in both() {
        let refused = candle.argmax(&[Row::new(&cube, 0)], 2);
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
