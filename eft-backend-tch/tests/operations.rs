//! Tests of libtorch's types, memory layouts and gradients, which the conformance kit cannot test.
mod device;

use eft_backend_tch::{Device, Torch, to_error};
use eft_core::backend::score_rows;
use eft_core::conformance::reference;
use eft_core::{Backend, Error, Filter, ScoreRow, Term};
use tch::{Kind, Tensor};

/// Numbers like logits, in −6..6, that depend on `seed`.
fn noise(width: usize, seed: u32) -> Vec<f32> {
    let hash =
        |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
    (0..width as u32).map(|i| (hash(i) >> 8) as f32 / (1 << 24) as f32 * 12.0 - 6.0).collect()
}

fn matrix(rows: &[&[f32]]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, rows[0].len() as i64])
}

fn download(tensor: &Tensor) -> Vec<f32> {
    let torch = device::torch();
    let (height, width) = torch.shape(tensor);
    torch.download(&score_rows(tensor, height), width).unwrap()
}

#[test]
fn other_types_are_combined_in_f32() {
    let (torch, width) = (device::torch(), 3000);
    for kind in [Kind::Half, Kind::BFloat16, Kind::Double] {
        let rows: Vec<_> = (0..3).map(|seed| matrix(&[&noise(width, seed)]).to_kind(kind)).collect();
        let stored: Vec<_> = rows.iter().map(download).collect();
        let weights = [1.0, 0.7, -0.7];
        let terms: Vec<_> = rows
            .iter()
            .zip(weights)
            .map(|(row, weight)| Term { weight, rows: vec![ScoreRow::new(row, 0)] })
            .collect();
        let sum = torch.linear(&terms, width).unwrap();
        assert_eq!(sum.kind(), Kind::Float);
        let terms: Vec<_> = weights.iter().zip(&stored).map(|(w, row)| (*w, &row[..])).collect();
        for (got, expected) in download(&sum).iter().zip(reference::linear(&terms)) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{kind:?}: {got}, {expected}");
        }
        let (token, log_prob) = reference::argmax(&stored[0]);
        let pick = torch.argmax(&[ScoreRow::new(&rows[0], 0)], width).unwrap()[0];
        assert_eq!(pick.token, token);
        assert!((f64::from(pick.log_prob) - log_prob).abs() < 1e-4);
    }
}

#[test]
fn rows_may_lie_in_any_layout() {
    let (torch, width) = (device::torch(), 700);
    let stored: Vec<Vec<f32>> = (0..4).map(|seed| noise(width, seed)).collect();
    let rows: Vec<_> = stored.iter().map(Vec::as_slice).collect();
    let plain = matrix(&rows);
    let columns = plain.tr().contiguous().tr();
    let halves = [matrix(&rows[..1]), matrix(&rows[1..])];
    let asked = [
        ScoreRow::new(&columns, 2),
        ScoreRow::new(&halves[1], 0),
        ScoreRow::new(&plain, 0),
        ScoreRow::new(&plain, 1),
    ];
    let expected: Vec<_> = [2, 1, 0, 1].into_iter().flat_map(|i| &stored[i][..650]).copied().collect();
    assert_eq!(torch.download(&asked, 650).unwrap(), expected);
    let tokens: Vec<_> = torch.argmax(&asked, 650).unwrap().iter().map(|pick| pick.token).collect();
    assert_eq!(tokens, [2, 1, 0, 1].map(|i| reference::argmax(&stored[i][..650]).0));
    // All rows of one tensor, whose strides are not those of a contiguous one.
    let all = score_rows::<Torch>(&columns, 4);
    let filter = Filter { top_k: Some(40), top_p: Some(0.9), ..Filter::default() };
    for (got, row) in download(&torch.filter(&all, &filter, 650).unwrap()).chunks(650).zip(&stored) {
        reference::check_filter(&row[..650], &filter, got, 1e-5).unwrap();
    }
    let asked = vec![vec![3], vec![], vec![649, 0], vec![7]];
    let expected = reference::log_softmax(&stored[2][..650]);
    let got = torch.log_probs(&all, &asked, 650).unwrap();
    assert!((f64::from(got[2][0]) - expected[649]).abs() < 1e-4);
}

#[test]
fn results_do_not_share_memory_with_their_rows() {
    let torch = device::torch();
    let mut scores = matrix(&[&[1.0, 2.0]]);
    let rows = [ScoreRow::new(&scores, 0)];
    let same = [
        torch.linear(&[Term { weight: 1.0, rows: rows.to_vec() }], 2).unwrap(),
        torch.filter(&rows, &Filter::default(), 2).unwrap(),
        torch.edit(&rows, &[vec![]], 2).unwrap(),
    ];
    let _ = scores.zero_();
    same.iter().for_each(|same| assert_eq!(download(same), [1.0, 2.0]));
}

#[test]
fn no_gradients_are_tracked_in_any_thread() {
    let work = || {
        let torch = device::torch();
        let tracked = matrix(&[&[1.0, 2.0], &[0.0, 3.0]]).set_requires_grad(true);
        let rows = score_rows::<Torch>(&tracked, 2);
        let term = |weight, row: usize| Term { weight, rows: vec![rows[row]] };
        let made = [
            torch.linear(&[term(1.0, 0), term(-0.5, 1)], 2).unwrap(),
            torch.log_softmax(&rows, 2).unwrap(),
            torch.filter(&rows, &Filter { top_k: Some(1), ..Filter::default() }, 2).unwrap(),
            torch.residual(&rows[..1], &rows[1..], 2).unwrap(),
        ];
        // The caller's own operations still track gradients.
        made.iter().all(|tensor| !tensor.requires_grad()) && (&tracked + 1.0).requires_grad()
    };
    assert!(work());
    assert!(std::thread::spawn(work).join().unwrap());
}

#[test]
fn tensors_that_are_no_matrix_are_refused() {
    let torch = device::torch();
    let cube = Tensor::zeros([2, 2, 2], (Kind::Float, Device::Cpu));
    assert!(matches!(torch.argmax(&[ScoreRow::new(&cube, 0)], 2), Err(Error::Shape { .. })));
    assert!(matches!(torch.argmax(&[ScoreRow::new(&Tensor::new(), 0)], 2), Err(Error::Shape { .. })));
    assert!(matches!(torch.upload(&[], 0), Err(Error::Shape { .. })));
}

#[test]
fn errors_name_the_library_and_nothing_panics() {
    let failed = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)).f_narrow(0, 5, 1).map_err(to_error);
    assert!(matches!(failed, Err(Error::Backend { backend: "tch", .. })));
    // A device that does not exist, on most machines.
    let elsewhere = Torch::from(Device::Cuda(0)).upload(&[1.0, 2.0], 2);
    assert!(tch::Cuda::is_available() || matches!(elsewhere, Err(Error::Backend { backend: "tch", .. })));
    assert_eq!(format!("{:?}", Torch::cpu()), "Torch { device: Cpu }");
}
