//! Batches whose rows differ in length, against the same rows in separate sessions.
use eft_backend_ort::{Options, Ort, load};
use eft_core::{Backend, LogitSource, Prompt, RowFeed, Scores, Session, Source, TokenId};

use crate::tiny::{exported, model};

/// Tokens that depend on `seed`.
fn tokens(count: usize, seed: usize) -> Vec<TokenId> {
    (0..count).map(|i| ((i * 7 + seed * 13 + i * i) % 90 + 3) as TokenId).collect()
}

fn open(source: &Source<Ort>, rows: &[Vec<TokenId>]) -> (Box<dyn Session<Backend = Ort>>, Scores<Ort>) {
    let prompts: Vec<Prompt> = rows.iter().map(Prompt::from).collect();
    source.open(&prompts).unwrap()
}

/// The scores of the last position of a row, which must have some.
fn last(source: &Source<Ort>, scores: &Scores<Ort>, row: usize) -> Vec<f32> {
    let row = scores.positions(row).pop().unwrap();
    source.backend().download(&[row], scores.width()).unwrap()
}

/// Asserts that the last scores of each row equal those of the row alone in a new session.
fn assert_same_alone(source: &Source<Ort>, scores: &Scores<Ort>, rows: &[Vec<TokenId>]) {
    for (row, text) in rows.iter().enumerate() {
        if scores.positions(row).is_empty() {
            continue;
        }
        let alone = open(source, std::slice::from_ref(text)).1;
        for (got, expected) in last(source, scores, row).iter().zip(last(source, &alone, 0)) {
            assert!((got - expected).abs() < 1e-4, "row {row} of {}: {got}, {expected}", source.name());
        }
    }
}

fn feed(session: &mut dyn Session<Backend = Ort>, rows: &mut [Vec<TokenId>], fed: &[usize]) -> Scores<Ort> {
    let new: Vec<_> =
        fed.iter().enumerate().map(|(row, count)| tokens(*count, rows[row].len() + row)).collect();
    rows.iter_mut().zip(&new).for_each(|(row, new)| row.extend(new));
    let feeds: Vec<_> = new.into_iter().map(RowFeed::last).collect();
    session.extend(&feeds).unwrap()
}

#[test]
fn masked_slots_are_ignored_and_gathered_away() {
    for name in ["llama", "gpt2", "llama-mask-positions"] {
        let source = model(name);
        let mut rows = vec![tokens(3, 1), tokens(9, 2), tokens(1, 3)];
        let (mut session, scores) = open(&source, &rows);
        assert_same_alone(&source, &scores, &rows);
        // Each round rolls back most of what it fed, so masked slots soon outnumber tokens.
        for round in 0..12 {
            let fed = [5 + round % 3, 1, 8];
            let scores = feed(&mut *session, &mut rows, &fed);
            assert_same_alone(&source, &scores, &rows);
            let drop = [4, 1, 8];
            session.rollback(&drop).unwrap();
            rows.iter_mut().zip(drop).for_each(|(row, drop)| row.truncate(row.len() - drop));
        }
        // Roll back to the prompts.
        let limits = session.rollback_limit();
        assert_eq!(limits, [24, 0, 0]);
        session.rollback(&limits).unwrap();
        rows[0].truncate(3);
        let scores = feed(&mut *session, &mut rows, &[2, 0, 1]);
        assert!(scores.positions(1).is_empty());
        assert_same_alone(&source, &scores, &rows);
    }
}

#[test]
fn masked_slots_do_not_take_room_from_the_context() {
    // This model fails if there are more slots than the 16 of its context.
    let source = model("table");
    let (mut session, _) = open(&source, &[vec![1, 2, 3], vec![4, 5]]);
    for _ in 0..4 {
        session.extend(&[RowFeed::last(vec![1; 9]), RowFeed::last(vec![2; 3])]).unwrap();
        session.rollback(&[9, 3]).unwrap();
    }
}

#[test]
fn a_row_with_a_full_context_does_not_limit_the_others() {
    for name in ["llama", "gpt2", "llama-cache-positions"] {
        let source = model(name);
        let mut rows = vec![tokens(120, 1), tokens(10, 2)];
        let (mut session, scores) = open(&source, &rows);
        assert_same_alone(&source, &scores, &rows);
        // In one cache the rows would need more slots than the model's 128 positions.
        let scores = feed(&mut *session, &mut rows, &[0, 40]);
        assert_same_alone(&source, &scores, &rows);
        let scores = feed(&mut *session, &mut rows, &[8, 60]);
        assert_same_alone(&source, &scores, &rows);
        assert_eq!(session.room(), [0, 18]);
        session.select(&[1, 0, 1]).unwrap();
        rows = vec![rows[1].clone(), rows[0].clone(), rows[1].clone()];
        let scores = feed(&mut *session, &mut rows, &[1, 0, 5]);
        assert_same_alone(&source, &scores, &rows);
    }
}

#[test]
fn long_prompts_are_fed_in_several_passes() {
    let ort = Ort::new(&Options::default().max_pass_tokens(16)).unwrap();
    for name in ["llama", "llama-merged", "mistral", "llama-no-cache"] {
        let (whole, pieces) = (model(name), load(exported(name), &ort, None).unwrap());
        let mut rows = vec![tokens(60, 1), tokens(5, 2), tokens(33, 3)];
        let (mut session, scores) = open(&pieces, &rows);
        assert_same_alone(&whole, &scores, &rows);
        // All positions of a feed that takes several passes are scored.
        let new = tokens(40, 9);
        let scores = session.extend(&[RowFeed::none(), RowFeed::all(new.clone()), RowFeed::none()]).unwrap();
        assert_eq!(scores.positions(1).len(), new.len());
        let first = scores.positions(1)[0];
        let got = pieces.backend().download(&[first], scores.width()).unwrap();
        rows[1].push(new[0]);
        let expected = last(&whole, &open(&whole, &rows[1..2]).1, 0);
        got.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{name}: {a} {b}"));
        rows[1].extend(&new[1..]);
        assert_same_alone(&whole, &scores, &rows);
    }
}

#[test]
fn forks_are_independent_if_each_row_has_its_own_cache() {
    let source = model("llama-cache-positions");
    let mut rows = vec![tokens(4, 1), tokens(6, 2)];
    let (mut session, _) = open(&source, &rows);
    session.select(&[1, 0, 1, 1]).unwrap();
    rows = [1, 0, 1, 1].map(|row| rows[row].clone()).to_vec();
    let scores = feed(&mut *session, &mut rows, &[3, 1, 0, 2]);
    assert_same_alone(&source, &scores, &rows);
    session.rollback(&[2, 1, 0, 1]).unwrap();
    rows.iter_mut().zip([2, 1, 0, 1]).for_each(|(row, drop)| row.truncate(row.len() - drop));
    let scores = feed(&mut *session, &mut rows, &[1, 1, 1, 1]);
    assert_same_alone(&source, &scores, &rows);
}
