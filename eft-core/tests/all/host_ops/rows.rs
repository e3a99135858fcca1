//! Score rows for the tests, and comparisons.
use std::ops::RangeInclusive;

use eft_core::host::HostTensor;
use eft_core::{Backend, Filter, Host, ScoreRow};
use proptest::prelude::*;

/// A tensor of one row.
pub(crate) fn tensor(row: &[f32]) -> HostTensor {
    Host.upload(row, row.len()).unwrap()
}

/// The first `count` rows of a tensor.
pub(crate) fn refs(tensor: &HostTensor, count: usize) -> Vec<ScoreRow<'_, Host>> {
    (0..count).map(|index| ScoreRow::new(tensor, index)).collect()
}

/// Asserts that two numbers differ by at most `slack`. Infinities and NaN are equal to themselves.
#[track_caller]
pub(crate) fn assert_close(got: f32, expected: f64, slack: f64) {
    let same = f64::from(got) == expected || got == expected as f32 || (got.is_nan() && expected.is_nan());
    assert!(same || (f64::from(got) - expected).abs() <= slack, "{got} instead of {expected}");
}

#[track_caller]
pub(crate) fn assert_unsound(row: &[f32]) {
    assert!(!eft_core::conformance::reference::is_sound(row), "{row:?}");
}

fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(1usize), 8 => 2usize..600, 2 => 4000usize..9000, 1 => 16_000usize..20_000]
}

/// A row of one kind; most kinds are adversarial.
fn row(width: usize) -> impl Strategy<Value = Vec<f32>> {
    let vec = move |scores: BoxedStrategy<f32>| prop::collection::vec(scores, width);
    let excluded = Just(f32::NEG_INFINITY);
    prop_oneof![
        4 => vec((-30.0f32..30.0).boxed()),
        2 => vec((0.0f32..4.0).boxed()),
        2 => vec(prop_oneof![9 => excluded, 1 => -30.0f32..30.0].boxed()),
        2 => vec(prop::sample::select(vec![0.0f32, -0.0, 1.0, 2.0]).boxed()),
        1 => vec(prop::sample::select(vec![3e38f32, -3e38, 0.0, f32::NEG_INFINITY]).boxed()),
        1 => (-1000.0f32..1000.0).prop_map(move |x| vec![x; width]),
        1 => (0..width).prop_map(move |i| one(width, i, -7.5, f32::NEG_INFINITY)),
        1 => (0..width).prop_map(move |i| one(width, i, 90.0, -90.0)),
        1 => (0..width).prop_map(move |i| one(width, i, f32::NAN, 1.0)),
        1 => (0..width).prop_map(move |i| one(width, i, f32::NAN, f32::NEG_INFINITY)),
        1 => (0..width).prop_map(move |i| one(width, i, f32::INFINITY, 1.0)),
        1 => Just(vec![f32::NEG_INFINITY; width]),
    ]
}

fn one(width: usize, at: usize, score: f32, others: f32) -> Vec<f32> {
    let mut row = vec![others; width];
    row[at] = score;
    row
}

/// A row of any kind and width.
pub(crate) fn any_row() -> impl Strategy<Value = Vec<f32>> {
    widths().prop_flat_map(row)
}

/// Rows of any kinds and of one width.
pub(crate) fn batch(rows: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
    (widths(), rows).prop_flat_map(|(width, rows)| prop::collection::vec(row(width), rows))
}

/// Filters with any settings, including their limits.
pub(crate) fn filters() -> impl Strategy<Value = Filter> {
    let top_k =
        prop_oneof![2 => Just(None), 2 => (1usize..40).prop_map(Some), 1 => (1usize..20_000).prop_map(Some)];
    let p = |edges: Vec<f32>| prop_oneof![2 => Just(None), 3 => (0.01f32..1.0).prop_map(Some), 2 => prop::sample::select(edges).prop_map(Some)];
    let temperature = prop::sample::select(vec![1.0f32, 0.7, 3.0, 0.01, 1e30, 1e-30]);
    (temperature, top_k, p(vec![1e-6, 0.5, 0.999, 1.0f32.next_down(), 1.0]), p(vec![0.0, 1e-6, 0.5, 1.0]))
        .prop_map(|(temperature, top_k, top_p, min_p)| Filter { temperature, top_k, top_p, min_p })
}
