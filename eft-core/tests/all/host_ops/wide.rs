//! Rows as wide as the largest vocabularies, processed by several threads.
use eft_core::conformance::reference;
use eft_core::host::HostTensor;
use eft_core::{Backend, Filter, Host, Term};

use super::rows::{assert_close, refs};

const WIDTH: usize = 262_144;

/// Rows of six kinds: without pattern, with some ties, all equal, mostly excluded, flat except for one token, and with
/// a large nucleus.
fn rows() -> Vec<Vec<f32>> {
    let hash = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 8;
    let noise = |i: usize| ((hash(i) + 1) as f32 / (1 << 24) as f32).ln() * -2.0;
    vec![
        (0..WIDTH).map(noise).collect(),
        (0..WIDTH).map(|i| noise(i).floor()).collect(),
        vec![1.5; WIDTH],
        (0..WIDTH).map(|i| if hash(i) % 1000 == 0 { noise(i) } else { f32::NEG_INFINITY }).collect(),
        (0..WIDTH).map(|i| if i == 200_000 { 13.0 } else { 0.0 }).collect(),
        (0..WIDTH).map(|i| hash(i) as f32 / (1 << 22) as f32).collect(),
    ]
}

fn filters() -> Vec<Filter> {
    let none = Filter::default();
    vec![
        Filter { top_p: Some(0.9), ..none },
        Filter { top_k: Some(50), top_p: Some(0.5), temperature: 0.7, ..none },
        Filter { top_k: Some(100_000), min_p: Some(0.01), ..none },
        Filter { top_p: Some(0.999), temperature: 2.0, ..none },
    ]
}

#[test]
fn wide_rows_agree_with_the_reference() {
    for row in rows() {
        let scores = Host.upload(&row, WIDTH).unwrap();
        let rows = refs(&scores, 1);
        for filter in filters() {
            let got = Host.filter(&rows, &filter, WIDTH).unwrap();
            reference::check_filter(&row, &filter, &Host.download(&refs(&got, 1), WIDTH).unwrap(), 1e-5)
                .unwrap();
        }
        let normalizer = reference::log_normalizer(&row);
        assert_close(Host.log_normalizers(&rows, WIDTH).unwrap()[0], normalizer, 1e-6 * normalizer.abs());
        assert_eq!(Host.argmax(&rows, WIDTH).unwrap()[0].token, reference::argmax(&row).0);
        for uniform in [0.0, 0.123, 0.5, 0.999, 1.0f64.next_down()] {
            let pick = Host.draw(&rows, &[uniform], WIDTH).unwrap()[0];
            reference::check_draw(&row, uniform, pick.token, 1e-6).unwrap();
        }
        for k in [1, 100, 70_000] {
            let got: Vec<_> = Host.top(&rows, k, WIDTH).unwrap()[0].iter().map(|pick| pick.token).collect();
            assert_eq!(got, reference::top(&row, k).iter().map(|(token, _)| *token).collect::<Vec<_>>());
        }
    }
}

/// The results of all operations on some rows, as bits.
fn everything(tensor: &HostTensor, count: usize) -> Vec<u32> {
    let rows = refs(tensor, count);
    let terms = [0.3, -1.7, 1.0].map(|weight| Term { weight, rows: rows.clone() });
    let mut tensors = vec![Host.linear(&terms, WIDTH).unwrap(), Host.log_softmax(&rows, WIDTH).unwrap()];
    tensors.extend(filters().iter().map(|filter| Host.filter(&rows, filter, WIDTH).unwrap()));
    let reversed: Vec<_> = rows.iter().rev().copied().collect();
    tensors.push(Host.residual(&rows, &reversed, WIDTH).unwrap());
    let uniforms: Vec<_> = (0..count).map(|i| (i as f64 + 0.5) / count as f64).collect();
    let mut picks = Host.draw(&rows, &uniforms, WIDTH).unwrap();
    picks.extend(Host.argmax(&rows, WIDTH).unwrap());
    picks.extend(Host.top(&rows, 1000, WIDTH).unwrap().concat());
    let scores = tensors.iter().flat_map(|tensor| Host.download(&refs(tensor, count), WIDTH).unwrap());
    scores.map(f32::to_bits).chain(picks.iter().flat_map(|p| [p.token, p.log_prob.to_bits()])).collect()
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let rows = rows();
    let tensor = Host.upload(&rows.concat(), WIDTH).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| everything(&tensor, rows.len()))
    };
    let one = with(1);
    assert!(one == with(2));
    assert!(one == with(3));
    assert!(one == everything(&tensor, rows.len()));
}
