//! The host backend compared with the reference operations, on random and on adversarial rows.
#![allow(clippy::unwrap_used, reason = "a failed operation is a failed test")]

mod inputs;
mod math;
mod rows;
mod statistics;
mod wide;

use eft_core::conformance::reference;
use eft_core::{Backend, Edit, Filter, Host, Pool, Term, TokenMask};
use proptest::prelude::*;
use rows::{any_row, assert_close, assert_unsound, batch, filters, refs, tensor};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn linear_is_the_weighted_sum(rows in batch(1..=4), weights in prop::collection::vec(-2.0f32..2.0, 4)) {
        let width = rows[0].len();
        let tensors: Vec<_> = rows.iter().map(|row| tensor(row)).collect();
        let terms = weights.iter().zip(&tensors).map(|(weight, tensor)| Term { weight: *weight, rows: refs(tensor, 1) });
        let got = Host.linear(&terms.collect::<Vec<_>>(), width).unwrap();
        let got = Host.download(&refs(&got, 1), width).unwrap();
        let parts: Vec<_> = weights.iter().copied().zip(rows.iter().map(Vec::as_slice)).collect();
        let finite = |row: &Vec<f32>| row.iter().map(|x| if x.is_finite() { x.abs() } else { 0.0 }).collect();
        let sizes: Vec<Vec<_>> = rows.iter().map(finite).collect();
        let sizes = weights.iter().map(|w| w.abs()).zip(sizes.iter().map(Vec::as_slice));
        let sizes = reference::linear(&sizes.collect::<Vec<_>>());
        for ((got, expected), size) in got.iter().zip(reference::linear(&parts)).zip(sizes) {
            // Beyond it, an intermediate sum may overflow to infinity, which the contract permits.
            if size < f64::from(f32::MAX) {
                assert_close(*got, expected, 1e-6 * size);
            }
        }
    }

    #[test]
    fn log_softmax_and_normalizer(row in any_row()) {
        let scores = tensor(&row);
        let got = Host.log_softmax(&refs(&scores, 1), row.len()).unwrap();
        let got = Host.download(&refs(&got, 1), row.len()).unwrap();
        for (got, expected) in got.iter().zip(reference::log_softmax(&row)) {
            assert_close(*got, expected, 1e-6 * (1.0 + expected.abs()));
        }
        let got = Host.log_normalizers(&refs(&scores, 1), row.len()).unwrap()[0];
        let expected = reference::log_normalizer(&row);
        assert_close(got, expected, 1e-6 * (1.0 + expected.abs()));
    }

    #[test]
    fn pools_are_elementwise(
        rows in batch(1..=3),
        pool in prop_oneof![
            Just(Pool::Max),
            Just(Pool::Min),
            prop::sample::select(vec![1.0f32, -1.0, 0.5, -3.0, 8.0]).prop_map(Pool::Power)
        ],
    ) {
        let width = rows[0].len();
        let tensors: Vec<_> = rows.iter().map(|row| tensor(row)).collect();
        let weights = [0.5f32, 0.25, 0.25];
        let terms = weights.iter().zip(&tensors).map(|(weight, tensor)| Term { weight: *weight, rows: refs(tensor, 1) });
        let got = Host.pool(&terms.collect::<Vec<_>>(), pool, width).unwrap();
        let got = Host.download(&refs(&got, 1), width).unwrap();
        let parts: Vec<_> = weights.iter().copied().zip(rows.iter().map(Vec::as_slice)).collect();
        if !rows.iter().all(|row| reference::is_sound(row)) {
            assert_unsound(&got);
            return Ok(());
        }
        for (got, expected) in got.iter().zip(reference::pool(&parts, pool)) {
            // A power of scores this large overflows, with the right sign.
            if expected.abs() < 1e36 || expected.is_infinite() {
                assert_close(*got, expected, 1e-5 * (1.0 + expected.abs()));
            } else {
                assert_eq!(got.is_sign_negative(), expected < 0.0);
            }
        }
    }

    #[test]
    fn clamps_are_elementwise(row in any_row(), bounds in prop::sample::select(vec![
        (-2.0f32, 3.0f32), (1.0, 1.0), (f32::NEG_INFINITY, 0.0), (0.5, f32::INFINITY), (-1e30, 1e30),
    ])) {
        let scores = tensor(&row);
        let got = Host.clamp(&refs(&scores, 1), bounds.0, bounds.1, row.len()).unwrap();
        let got = Host.download(&refs(&got, 1), row.len()).unwrap();
        prop_assert_eq!(reference::is_sound(&got), reference::is_sound(&row));
        for (got, expected) in got.iter().zip(reference::clamp(&row, bounds.0, bounds.1)) {
            assert_close(*got, expected, 0.0);
        }
    }

    #[test]
    fn filters_keep_what_the_contract_keeps(row in any_row(), filter in filters()) {
        let scores = tensor(&row);
        let got = Host.filter(&refs(&scores, 1), &filter, row.len()).unwrap();
        let got = Host.download(&refs(&got, 1), row.len()).unwrap();
        if let Err(fault) = reference::check_filter(&row, &filter, &got, 1e-5) {
            panic!("{fault}");
        }
    }

    #[test]
    fn draws_invert_the_distribution(row in any_row(), uniform in uniforms()) {
        let scores = tensor(&row);
        let pick = Host.draw(&refs(&scores, 1), &[uniform], row.len()).unwrap()[0];
        prop_assert_eq!(pick.log_prob.is_nan(), !reference::is_sound(&row));
        if !pick.log_prob.is_nan() {
            reference::check_draw(&row, uniform, pick.token, 1e-6).unwrap();
            let expected = reference::log_softmax(&row)[pick.token as usize];
            assert_close(pick.log_prob, expected, 1e-6 * (1.0 + expected.abs()));
        }
    }

    #[test]
    fn draws_stay_inside_a_filter(row in any_row(), filter in filters(), uniform in uniforms()) {
        let scores = tensor(&row);
        let kept = Host.filter(&refs(&scores, 1), &filter, row.len()).unwrap();
        let pick = Host.draw(&refs(&kept, 1), &[uniform], row.len()).unwrap()[0];
        let kept = Host.download(&refs(&kept, 1), row.len()).unwrap();
        prop_assert!(pick.log_prob.is_nan() || kept[pick.token as usize] > f32::NEG_INFINITY);
    }

    #[test]
    fn first_tokens(row in any_row(), k in 0usize..40) {
        let scores = tensor(&row);
        let best = Host.argmax(&refs(&scores, 1), row.len()).unwrap()[0];
        let top = Host.top(&refs(&scores, 1), k, row.len()).unwrap().remove(0);
        let all: Vec<_> = (0..row.len() as u32).collect();
        let named = Host.log_probs(&refs(&scores, 1), &[all], row.len()).unwrap().remove(0);
        for (got, expected) in named.iter().zip(reference::log_softmax(&row)) {
            assert_close(*got, expected, 1e-6 * (1.0 + expected.abs()));
        }
        if !reference::is_sound(&row) {
            prop_assert!(best.log_prob.is_nan() && top.len() == 1 && top[0].log_prob.is_nan());
            return Ok(());
        }
        prop_assert_eq!(best.token, reference::argmax(&row).0);
        prop_assert_eq!(best.log_prob, named[best.token as usize]);
        let expected = reference::top(&row, k);
        prop_assert_eq!(top.len(), expected.len());
        for (pick, (token, _)) in top.iter().zip(expected) {
            prop_assert_eq!((pick.token, pick.log_prob), (token, named[token as usize]));
        }
    }

    #[test]
    fn residuals(rows in batch(2..=2)) {
        let (width, target, draft) = (rows[0].len(), tensor(&rows[0]), tensor(&rows[1]));
        let got = Host.residual(&refs(&target, 1), &refs(&draft, 1), width).unwrap();
        let got = Host.download(&refs(&got, 1), width).unwrap();
        if !rows.iter().all(|row| reference::is_sound(row)) {
            assert_unsound(&got);
            return Ok(());
        }
        let expected = reference::residual(&rows[0], &rows[1]);
        // If the remaining mass is tiny, it is mostly rounding error.
        if expected.iter().map(|x| x.exp()).sum::<f64>() > 1e-4 {
            for (got, expected) in got.iter().zip(expected) {
                prop_assert!((f64::from(got.exp()) - expected.exp()).abs() < 1e-6, "{} {}", got, expected);
            }
        }
    }

    #[test]
    fn edits_and_choices(rows in batch(3..=3), edits in edits(), with_outside: bool) {
        let width = rows[0].len();
        let edits: Vec<_> = edits.into_iter().map(|edit| within(edit, width as u32)).collect();
        // A penalty can make larger scores overflow, so they are scaled down.
        let huge = |x: &f32| x.is_finite() && x.abs() > 1e37;
        let rows: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(|x| if huge(x) { x / 1e3 } else { *x }).collect()).collect();
        let tensors: Vec<_> = rows.iter().map(|row| tensor(row)).collect();
        let got = Host.edit(&refs(&tensors[0], 1), std::slice::from_ref(&edits), width).unwrap();
        for (got, expected) in Host.download(&refs(&got, 1), width).unwrap().iter().zip(reference::edit(&rows[0], &edits)) {
            assert_close(*got, expected, 1e-6 * (1.0 + expected.abs()));
        }
        let outside = with_outside.then(|| refs(&tensors[2], 1));
        let got = Host.choose(&refs(&tensors[0], 1), &refs(&tensors[1], 1), outside.as_deref(), width).unwrap();
        let expected = reference::choose(&rows[0], &rows[1], with_outside.then_some(&rows[2]));
        for (got, expected) in Host.download(&refs(&got, 1), width).unwrap().iter().zip(expected) {
            assert_close(*got, expected, 0.0);
        }
    }
}

fn uniforms() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..1.0f64, 1 => Just(0.0), 1 => Just(1.0f64.next_down())]
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let tokens = || prop::collection::vec(0u32..5000, 0..6);
    let edit = prop_oneof![
        (tokens(), -5.0f32..5.0).prop_map(|(t, bias)| Edit::Bias(t.into_iter().map(|t| (t, bias)).collect())),
        tokens().prop_map(|t| Edit::Bias(t.into_iter().map(|t| (t, f32::NEG_INFINITY)).collect())),
        (tokens(), 0.5f32..3.0).prop_map(|(tokens, penalty)| Edit::Repetition { tokens, penalty }),
        tokens().prop_map(|t| Edit::Allow(TokenMask::from_iter(t).into())),
    ];
    prop::collection::vec(edit, 0..4)
}

/// Returns the edit with token ids reduced modulo `width`, and penalised tokens without duplicates.
fn within(edit: Edit, width: u32) -> Edit {
    match edit {
        Edit::Bias(biases) => Edit::Bias(biases.into_iter().map(|(t, bias)| (t % width, bias)).collect()),
        Edit::Repetition { tokens, penalty } => {
            let mut tokens: Vec<_> = tokens.into_iter().map(|t| t % width).collect();
            tokens.sort_unstable();
            tokens.dedup();
            Edit::Repetition { tokens, penalty }
        }
        Edit::Allow(mask) => Edit::Allow(mask),
    }
}

#[test]
fn boundaries_are_exact() {
    let equal = tensor(&[0.0, 0.0]);
    let half = Filter { top_p: Some(0.5), ..Filter::default() };
    let kept = Host.filter(&refs(&equal, 1), &half, 2).unwrap();
    assert_eq!(Host.download(&refs(&kept, 1), 2).unwrap(), [0.0, f32::NEG_INFINITY]);
    assert_eq!(Host.draw(&refs(&equal, 1), &[0.5], 2).unwrap()[0].token, 1);
    // The `f32` nearest to the logarithm of one half is a little below it.
    let below = 0.5f32.ln();
    let scores = tensor(&[0.0, below, below.next_up()]);
    let kept = Host.filter(&refs(&scores, 1), &Filter { min_p: Some(0.5), ..Filter::default() }, 3).unwrap();
    assert_eq!(Host.download(&refs(&kept, 1), 3).unwrap(), [0.0, f32::NEG_INFINITY, below.next_up()]);
}

#[test]
fn a_token_named_twice_is_penalised_once_and_biased_twice() {
    let scores = tensor(&[8.0, 1.0]);
    let twice = Edit::Repetition { tokens: vec![0, 0], penalty: 2.0 };
    let bias = Edit::Bias(vec![(1, 3.0), (1, 3.0)]);
    let got = Host.edit(&refs(&scores, 1), &[vec![twice, bias]], 2).unwrap();
    assert_eq!(Host.download(&refs(&got, 1), 2).unwrap(), [4.0, 7.0]);
}

#[test]
fn masks_from_words_hold_the_ids_below_the_width() {
    let in_set = |id: u32| id % 3 == 1 || id % 7 == 2;
    let expected = |ids: usize| -> TokenMask { (0..ids as u32).filter(|id| in_set(*id)).collect() };
    // Six words of 32 ids each; the bits of ids past the width are padding.
    let narrow: Vec<u32> =
        (0..6).map(|i| (0..32).filter(|b| in_set(32 * i + b)).fold(0, |word, b| word | 1 << b)).collect();
    let wide: Vec<u64> = narrow.chunks(2).map(|w| u64::from(w[1]) << 32 | u64::from(w[0])).collect();
    for width in [0usize, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 300] {
        assert_eq!(TokenMask::from_u32_words(&narrow, width), expected(width.min(192)), "{width}");
        assert_eq!(TokenMask::from_u64_words(wide.clone(), width), expected(width.min(192)), "{width}");
        // An odd number of words: the last one fills half a word of 64 bits.
        assert_eq!(TokenMask::from_u32_words(&narrow[..3], width), expected(width.min(96)), "{width}");
    }
}

#[test]
fn a_mask_does_not_hide_an_unsound_row() {
    let scores = tensor(&[1.0, f32::NAN, f32::INFINITY]);
    let got =
        Host.edit(&refs(&scores, 1), &[vec![Edit::Allow(TokenMask::from_iter([0]).into())]], 3).unwrap();
    assert!(Host.argmax(&refs(&got, 1), 3).unwrap()[0].log_prob.is_nan());
}
