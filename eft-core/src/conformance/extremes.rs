//! Edge cases of backends: the largest and smallest numbers of `f32`, equal and excluded scores, and no rows at all.
use std::sync::Arc;

use super::rows::Kind;
use super::{Law, Result, reference, require};
use crate::backend::{Backend, Edit, Filter, Pool, ScoreRow, Term, score_rows};
use crate::{Host, TokenMask};

const NONE: f32 = f32::NEG_INFINITY;

/// Checks operations on scores that models rarely give.
pub(super) fn check_extremes<B: Backend>(backend: &B) -> Result {
    largest_numbers(backend)?;
    exact_counts(backend)?;
    excluded_tokens(backend)?;
    edits_of_several_rows(backend)?;
    unsound_normalizers(backend)?;
    subtracted_infinity(backend)?;
    no_rows(backend)
}

fn download<B: Backend>(backend: &B, tensor: &B::Tensor) -> crate::Result<Vec<f32>> {
    let (height, width) = backend.shape(tensor);
    backend.download(&score_rows(tensor, height), width)
}

fn largest_numbers<B: Backend>(backend: &B) -> Result {
    let law = "rows with the largest numbers stay sound";
    let row = [3e38, -3e38, 3e38, NONE, 0.0];
    let tensor = backend.upload(&row, 5).law(law)?;
    let rows = [ScoreRow::new(&tensor, 0)];
    let normal = backend.log_softmax(&rows, 5).and_then(|t| download(backend, &t)).law(law)?;
    let near = (normal[0] + 2f32.ln()).abs() < 1e-6 && normal.iter().all(|x| !x.is_nan());
    require(near, law, || format!("log_softmax: {normal:?}"))?;
    let pick = backend.draw(&rows, &[0.7], 5).law(law)?[0];
    require(pick.token == 2, law, || format!("draw: {pick:?}"))?;
    let cold = Filter { temperature: 0.5, top_p: Some(0.6), ..Filter::default() };
    let kept = backend.filter(&rows, &cold, 5).and_then(|t| download(backend, &t)).law(law)?;
    reference::check_filter(&row, &cold, &kept, 1e-5).law(law)?;
    let first = Filter { top_k: Some(1), ..Filter::default() };
    let kept = backend.filter(&rows, &first, 5).and_then(|t| download(backend, &t)).law(law)?;
    require(kept == [3e38, NONE, NONE, NONE, NONE], law, || format!("top-k: {kept:?}"))
}

fn exact_counts<B: Backend>(backend: &B) -> Result {
    let law = "top-k keeps exactly the first k, whatever the scores";
    // Both zeros, subnormal numbers, neighbouring numbers, and the largest and smallest.
    let tiny = f32::from_bits(1);
    let one_up = 1f32.next_up();
    let values = [0.0, -0.0, tiny, -tiny, 1.0, one_up, -1.0, -one_up, f32::MAX, f32::MIN, 1e-38, 64.0, NONE];
    let width = 1500;
    let row = (0..width).map(|i| values[i * 7 % values.len()]);
    let row: Vec<_> = row.chain(Kind::Logits.row(width, 3)).collect();
    let (tensor, uploaded) = (backend.upload(&row, width).law(law)?, Host.upload(&row, width).law(law)?);
    let (rows, on_host) = (score_rows::<B>(&tensor, 2), score_rows::<Host>(&uploaded, 2));
    for k in [1, 2, 115, 116, 117, 300, 500, 700, 900, 1100, 1380, 1384, 1385, 1386, 1499, 1500] {
        let filter = Filter { top_k: Some(k), ..Filter::default() };
        let got = backend.filter(&rows, &filter, width).and_then(|t| download(backend, &t)).law(law)?;
        let expected = Host.filter(&on_host, &filter, width).and_then(|t| download(&Host, &t)).law(law)?;
        require(got == expected, law, || format!("filter: k {k}"))?;
        let tokens = |picks: Vec<Vec<crate::Pick>>| -> Vec<Vec<_>> {
            picks.into_iter().map(|row| row.into_iter().map(|pick| pick.token).collect()).collect()
        };
        let got = tokens(backend.top(&rows, k, width).law(law)?);
        let expected = tokens(Host.top(&on_host, k, width).law(law)?);
        require(got == expected, law, || format!("top: k {k}: {got:?}, expected {expected:?}"))?;
    }
    Ok(())
}

fn excluded_tokens<B: Backend>(backend: &B) -> Result {
    let law = "an excluded token is never drawn";
    let width = 5000;
    let mut row = Kind::Logits.row(width, 1);
    row.iter_mut().enumerate().filter(|(i, _)| i % 512 > 3).for_each(|(_, x)| *x = NONE);
    row[4990..].fill(NONE);
    let tensor = backend.upload(&row, width).law(law)?;
    for i in 0..200 {
        let uniform = (f64::from(i) + 0.999_999) / 200.0;
        let pick = backend.draw(&[ScoreRow::new(&tensor, 0)], &[uniform], width).law(law)?[0];
        reference::check_draw(&row, uniform, pick.token, 1e-6).law(law)?;
    }
    Ok(())
}

fn edits_of_several_rows<B: Backend>(backend: &B) -> Result {
    let law = "each row gets its own edits, in their order";
    let width = 130;
    let stored: Vec<_> = (0..3).map(|seed| Kind::Logits.row(width, seed)).collect();
    let tensor = backend.upload(&stored.concat(), width).law(law)?;
    let mask = |step: usize| Edit::Allow(Arc::new((0..200).step_by(step).collect::<TokenMask>()));
    let repetition = |tokens: &[u32], penalty| Edit::Repetition { tokens: tokens.to_vec(), penalty };
    let edits = [
        vec![Edit::Bias(vec![(3, 1.5), (129, NONE), (3, 0.25)]), mask(3), repetition(&[0, 3, 7], 1.7)],
        vec![],
        vec![mask(7), Edit::Bias(vec![(7, -20.0)]), repetition(&[7, 14], 2.5), mask(2)],
    ];
    let got = backend.edit(&score_rows(&tensor, 3), &edits, width);
    let got = got.and_then(|t| download(backend, &t)).law(law)?;
    for (got, (row, edits)) in got.chunks(width).zip(stored.iter().zip(&edits)) {
        for (token, (got, expected)) in got.iter().zip(reference::edit(row, edits)).enumerate() {
            let near = f64::from(*got) == expected || (f64::from(*got) - expected).abs() < 1e-5;
            require(near, law, || format!("{edits:?}, token {token}: {got}, expected {expected}"))?;
        }
    }
    Ok(())
}

fn unsound_normalizers<B: Backend>(backend: &B) -> Result {
    let law = "the normaliser of an unsound row is NaN or −∞";
    let rows = [NONE, NONE, NONE, f32::NAN, f32::NAN, 0.0, f32::INFINITY, 0.0, NONE, 0.5];
    let tensor = backend.upload(&rows, 2).law(law)?;
    let got = backend.log_normalizers(&score_rows(&tensor, 5), 2).law(law)?;
    let reported = (got[0], got[4]) == (NONE, 0.5) && got[1..4].iter().all(|x| x.is_nan());
    require(reported, law, || format!("{got:?}"))
}

fn subtracted_infinity<B: Backend>(backend: &B) -> Result {
    let law = "a subtracted +∞ does not exclude a token";
    let (plain, infinite) =
        (backend.upload(&[1.0, 2.0], 2).law(law)?, backend.upload(&[f32::INFINITY, 0.0], 2).law(law)?);
    let terms = [(1.0, &plain), (-0.5, &infinite)]
        .map(|(weight, tensor)| Term { weight, rows: vec![ScoreRow::new(tensor, 0)] });
    let sum = backend.linear(&terms, 2).and_then(|t| download(backend, &t)).law(law)?;
    require(sum[0].is_nan() && sum[1] == 2.0, law, || format!("{sum:?}"))
}

fn no_rows<B: Backend>(backend: &B) -> Result {
    let law = "operations on no rows give no rows";
    let none: &[ScoreRow<'_, B>] = &[];
    let term = Term { weight: 1.0, rows: vec![] };
    let filter = Filter { top_k: Some(2), top_p: Some(0.5), ..Filter::default() };
    let made = [
        backend.pool(std::slice::from_ref(&term), Pool::Max, 4),
        backend.linear(&[term.clone(), term.clone()], 4),
        backend.filter(none, &filter, 4),
        backend.log_softmax(none, 4),
        backend.clamp(none, -1.0, 1.0, 4),
        backend.choose(none, none, None, 4),
        backend.edit(none, &[], 4),
        backend.residual(none, none, 4),
    ];
    for (operation, tensor) in made.into_iter().enumerate() {
        let shape = backend.shape(&tensor.law(law)?);
        require(shape == (0, 4), law, || format!("operation {operation}: {shape:?}"))?;
    }
    let picks = backend.argmax(none, 4).law(law)?.len() + backend.draw(none, &[], 4).law(law)?.len();
    let lists = backend.top(none, 3, 4).law(law)?.len() + backend.log_probs(none, &[], 4).law(law)?.len();
    let numbers =
        backend.log_normalizers(none, 4).law(law)?.len() + backend.download(none, 4).law(law)?.len();
    require(picks + lists + numbers == 0, law, || format!("{picks} picks, {lists} lists, {numbers} numbers"))
}
