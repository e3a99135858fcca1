//! The inputs of operations: stored types and layouts, no rows at all, invalid arguments.
use eft_core::conformance::reference;
use eft_core::host::HostTensor;
use eft_core::{Backend, Error, Filter, Host, Pool, ScoreRow, Term};
use half::{bf16, f16};
use ndarray::Array2;

use super::rows::{refs, tensor};

#[test]
fn stored_types_and_layouts_read_alike() {
    let exact: Vec<f32> = (0..9000).map(|i| ((i * 37) % 256) as f32 / 8.0 - 16.0).collect();
    let matrix = Array2::from_shape_vec((3, 3000), exact.clone()).unwrap();
    let transposed =
        Array2::from_shape_vec((3000, 3), (0..9000).map(|i| exact[(i % 3) * 3000 + i / 3]).collect());
    let transposed = transposed.unwrap().reversed_axes();
    let tensors = [
        HostTensor::from(matrix.clone()),
        HostTensor::from(matrix.mapv(f16::from_f32)),
        HostTensor::from(matrix.mapv(bf16::from_f32)),
        HostTensor::from(transposed.clone()),
        HostTensor::from(transposed.mapv(f16::from_f32)),
        HostTensor::F32(transposed.into_shared()),
    ];
    for tensor in &tensors {
        assert_eq!(Host.shape(tensor), (3, 3000));
        assert_eq!(Host.download(&refs(tensor, 3), 3000).unwrap(), exact);
        let first = Host.top(&[ScoreRow::new(tensor, 2)], 5, 2000).unwrap().remove(0);
        assert_eq!(first[0].token, reference::argmax(&exact[6000..8000]).0);
    }
    let difference =
        [1.0, -1.0].map(|weight| Term { weight, rows: refs(&tensors[usize::from(weight < 0.0)], 3) });
    let zero = Host.linear(&difference, 3000).unwrap();
    assert!(Host.download(&refs(&zero, 3), 3000).unwrap().iter().all(|x| *x == 0.0));
}

#[test]
fn no_rows_give_no_rows() {
    let none: &[ScoreRow<'_, Host>] = &[];
    for width in [0, 1, usize::MAX] {
        assert!(Host.argmax(none, width).unwrap().is_empty());
        assert!(Host.draw(none, &[], width).unwrap().is_empty());
        assert!(Host.top(none, 3, width).unwrap().is_empty());
        assert!(Host.log_normalizers(none, width).unwrap().is_empty());
        assert!(Host.download(none, width).unwrap().is_empty());
    }
    let terms = [Term { weight: 1.0, rows: vec![] }];
    assert_eq!(Host.shape(&Host.linear(&terms, 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.pool(&terms, Pool::Max, 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.log_softmax(none, 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.filter(none, &Filter::default(), 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.choose(none, none, None, 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.edit(none, &[], 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.residual(none, none, 4).unwrap()), (0, 4));
    assert_eq!(Host.shape(&Host.upload(&[], 4).unwrap()), (0, 4));
}

#[test]
fn invalid_arguments_are_errors() {
    let scores = tensor(&[1.0, 2.0, 3.0]);
    let one = refs(&scores, 1);
    let past = [ScoreRow::new(&scores, 1)];
    assert!(matches!(Host.upload(&[1.0; 3], 2), Err(Error::Shape { .. })));
    assert!(matches!(Host.upload(&[], 0), Err(Error::Shape { .. })));
    assert!(matches!(Host.argmax(&past, 3), Err(Error::Shape { .. })));
    assert!(matches!(Host.log_softmax(&one, 4), Err(Error::Shape { .. })));
    assert!(matches!(Host.log_softmax(&one, 0), Err(Error::Shape { .. })));
    assert!(matches!(Host.clamp(&one, 0.0, 1.0, 4), Err(Error::Shape { .. })));
    assert!(matches!(Host.clamp(&one, 1.0, 0.0, 3), Err(Error::InvalidParameter { name: "low", .. })));
    assert!(matches!(Host.clamp(&one, 0.0, f32::NAN, 3), Err(Error::InvalidParameter { name: "high", .. })));
    assert!(matches!(Host.linear(&[], 3), Err(Error::Shape { .. })));
    assert!(matches!(Host.draw(&one, &[], 3), Err(Error::Shape { .. })));
    assert!(matches!(Host.draw(&one, &[1.0], 3), Err(Error::InvalidParameter { .. })));
    assert!(matches!(Host.log_probs(&one, &[vec![2]], 2), Err(Error::TokenOutOfRange { token: 2, .. })));
    assert!(matches!(Host.choose(&one, &[], None, 3), Err(Error::Shape { .. })));
    assert!(matches!(Host.residual(&one, &[], 3), Err(Error::Shape { .. })));
    assert!(matches!(Host.edit(&one, &[], 3), Err(Error::Shape { .. })));
    let filter = Filter { top_k: Some(0), ..Filter::default() };
    assert!(matches!(Host.filter(&one, &filter, 3), Err(Error::InvalidParameter { .. })));
    let terms = [Term { weight: -1.0, rows: one.clone() }];
    assert!(matches!(Host.pool(&terms, Pool::Power(1.0), 3), Err(Error::InvalidParameter { .. })));
}
