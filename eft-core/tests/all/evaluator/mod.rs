//! Several roots over one set of models, under any sequence of calls that a decoding loop can make.
mod failures;
mod normalised;

use crate::common::*;
use eft_core::conformance::{TrafficCounter, count_traffic};
use eft_core::{
    Decoding, Error, Evaluator, Host, LogitSource, OpenOptions, Prompt, Sampling, Source, TokenId, bridge,
    combine,
};
use proptest::prelude::*;

/// A call that a decoding loop can make. Numbers are taken modulo the number of rows or tokens.
#[derive(Debug, Clone)]
enum Step {
    Push(Vec<Vec<TokenId>>),
    /// Several roots, each at positions of its own, which their models are run for at once.
    Eval(Vec<(usize, Vec<usize>, Vec<usize>)>),
    Rollback(Vec<usize>),
    Select(Vec<usize>),
    Commit,
    Reopen(Vec<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let few = || prop::collection::vec(0usize..8, 4);
    prop_oneof![
        3 => prop::collection::vec(prop::collection::vec(0..WIDTH as TokenId, 0..3), 4).prop_map(Step::Push),
        4 => prop::collection::vec((0usize..4, few(), few()), 1..3).prop_map(Step::Eval),
        2 => few().prop_map(Step::Rollback),
        1 => prop::collection::vec(0usize..8, 1..4).prop_map(Step::Select),
        1 => Just(Step::Commit),
        1 => prop::collection::vec(0usize..8, 1..4).prop_map(Step::Reopen),
    ]
}

/// A base, an adapted pair that shares its passes, a combination, and one that is not a weighted sum.
fn roots() -> [Source<Host>; 4] {
    let large = model("large", 1);
    let (small, _) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let upscaled = &large + 0.5 * (&tuned - &small);
    let careful = combine::nucleus_delta(&large, &tuned, &small, 1.0, 0.8).unwrap();
    [large, tuned, upscaled, careful]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_score_is_that_of_an_evaluator_opened_afresh(
        steps in prop::collection::vec(step(), 1..25),
        parallel: bool,
    ) {
        let roots = roots();
        let options = OpenOptions::default().parallel(parallel);
        // The prompt of each row, and the tokens pushed after it.
        let mut rows = vec![(vec![1, 2, 3], vec![]), (vec![4], vec![])];
        let prompts: Vec<Prompt> = rows.iter().map(|(prompt, _)| prompt.into()).collect();
        let mut evaluator = Evaluator::open_with(&roots.each_ref(), &prompts, options).unwrap();
        for step in steps {
            match step {
                Step::Push(tokens) => {
                    let tokens = tokens[..rows.len()].to_vec();
                    evaluator.push(&tokens).unwrap();
                    rows.iter_mut().zip(tokens).for_each(|(row, tokens)| row.1.extend(tokens));
                }
                Step::Eval(wanted) => {
                    let at = |(root, from, lengths): (usize, Vec<usize>, Vec<usize>)| {
                        let rows = rows.iter().zip(from.into_iter().zip(lengths));
                        let at = rows.map(|((_, tokens), (from, length))| {
                            let from = from % (tokens.len() + 1);
                            from..(from + length).min(tokens.len() + 1)
                        });
                        (root, at.collect::<Vec<_>>())
                    };
                    let wanted: Vec<_> = wanted.into_iter().map(at).collect();
                    if wanted.len() > 1 {
                        let all: Vec<_> = wanted.iter().map(|(root, at)| (*root, &at[..])).collect();
                        evaluator.run_roots(&all).unwrap();
                    }
                    for (root, at) in wanted {
                        let scores = evaluator.eval(root, &at).unwrap();
                        let mut got = values(&scores).into_iter();
                        for ((prompt, tokens), at) in rows.iter().zip(&at) {
                            for position in at.clone() {
                                let expected = scores_after(&roots[root], prompt, &tokens[..position]);
                                assert_near(&got.next().unwrap(), &expected, 1e-4);
                            }
                        }
                        prop_assert!(got.next().is_none());
                    }
                }
                Step::Rollback(drop) => {
                    let drop: Vec<_> = rows.iter().zip(drop).map(|((_, t), drop)| drop % (t.len() + 1)).collect();
                    evaluator.rollback(&drop).unwrap();
                    rows.iter_mut().zip(drop).for_each(|(row, drop)| row.1.truncate(row.1.len() - drop));
                }
                Step::Select(chosen) => {
                    let chosen: Vec<_> = chosen.into_iter().map(|row| row % rows.len()).collect();
                    evaluator.select(&chosen).unwrap();
                    rows = chosen.into_iter().map(|row| rows[row].clone()).collect();
                }
                Step::Commit => evaluator.commit(),
                Step::Reopen(chosen) => {
                    // Each prompt is the text of some row, cut or with one more token.
                    rows = chosen
                        .into_iter()
                        .map(|number| {
                            let (prompt, tokens) = &rows[number % rows.len()];
                            let mut text = [&prompt[..], tokens].concat();
                            text.truncate((1 + number).max(text.len() / 2));
                            text.push(number as TokenId);
                            (text, vec![])
                        })
                        .collect();
                    let prompts: Vec<Prompt> = rows.iter().map(|(prompt, _)| prompt.into()).collect();
                    evaluator.reopen(&prompts).unwrap();
                }
            }
            let pushed: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).to_vec()).collect();
            prop_assert_eq!(pushed, rows.iter().map(|(_, tokens)| tokens.clone()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_draft_runs_ahead_and_its_rows_serve_the_target() {
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let (large, large_counts) = counted("large", 1, &[]);
    let tuned = small.adapter("tuned").unwrap();
    let target = &large + (&tuned - &small);
    let mut evaluator = Evaluator::open(&[&target, &tuned], &[[1, 2].into()]).unwrap();
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 2), (1, 4)));
    // Three drafted tokens: the draft alone runs, one token at a time.
    for token in [3, 4, 5] {
        evaluator.eval_last(1).unwrap();
        evaluator.push(&[vec![token]]).unwrap();
    }
    assert_eq!((large_counts.take(), small_counts.take()), ((0, 0), (2, 2)));
    // The target's other terms take all three in one pass, the draft the one that it has not read.
    let scores = evaluator.eval_from(0, &[0]).unwrap();
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 3), (1, 1 + 3)));
    assert_eq!(values(&scores)[2], scores_after(&target, &[1, 2], &[3, 4]));
    // Rejected after the first: nothing that was accepted is read again.
    evaluator.rollback(&[2]).unwrap();
    evaluator.push(&[vec![9]]).unwrap();
    large_counts.take();
    small_counts.take();
    evaluator.eval_last(0).unwrap();
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 1), (1, 2)));
}

/// Each model runs once, over the rows of all roots that use it; then nothing is left to run.
#[test]
fn roots_that_differ_between_rows_share_passes() {
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let (large, large_counts) = counted("large", 1, &[]);
    let upscaled = &large + (small.adapter("tuned").unwrap() - &small);
    let prompts = [[1].into(), [2].into(), [3].into()];
    let mut evaluator = Evaluator::open(&[&large, &upscaled], &prompts).unwrap();
    evaluator.push(&[vec![4, 5], vec![5, 6], vec![6, 7]]).unwrap();
    large_counts.take();
    small_counts.take();
    let (first, second) = ([1..2, 2..3, 0..0], [2..3, 0..0, 1..3]);
    evaluator.run_roots(&[(0, &first), (1, &second)]).unwrap();
    // The large model reads all rows, and the small one under both adapters the first and the last.
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 6), (1, 8)));
    let got = [evaluator.eval(0, &first).unwrap(), evaluator.eval(1, &second).unwrap()].map(|s| values(&s));
    assert_eq!((large_counts.take(), small_counts.take()), ((0, 0), (0, 0)));
    assert_eq!(got[0], [scores_after(&large, &[1], &[4]), scores_after(&large, &[2], &[5, 6])]);
    assert_eq!(got[1][0], scores_after(&upscaled, &[1], &[4, 5]));
    assert!(matches!(evaluator.run_roots(&[(2, &first)]), Err(Error::Unknown { kind: "root", .. })));
    assert!(matches!(evaluator.run_roots(&[(0, &first[..2])]), Err(Error::Shape { .. })));
}

#[test]
fn a_bridged_model_stays_an_engine() {
    let (large, counts) = counted("large", 1, &["x"]);
    let large = large.named("big");
    let bridged = large.bridged(TrafficCounter::new(Host)).unwrap();
    let sum = &bridged + 0.5 * bridged.adapter("x").unwrap();
    let direct = &large + 0.5 * large.adapter("x").unwrap();
    assert_eq!((bridged.name(), sum.to_string()), ("big".to_owned(), direct.to_string()));
    let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(5);
    counts.take();
    let got: Vec<_> = sum.generate([1, 2], &decoding).unwrap().map(|token| token.unwrap().id).collect();
    let work = counts.take();
    let expected: Vec<_> =
        direct.generate([1, 2], &decoding).unwrap().map(|token| token.unwrap().id).collect();
    assert_eq!(got, expected);
    assert_eq!(counts.take(), work, "the adapter shares the passes of its model");
    assert!(matches!(sum.bridged(Host).map(drop), Err(Error::Unsupported { .. })));
}

#[test]
fn a_bridge_brings_the_scores_of_another_backend() {
    let counter = TrafficCounter::new(Host);
    let pair = count_traffic(model("tuned", 2), &counter) - count_traffic(model("untuned", 3), &counter);
    let bridged = model("large", 1) + bridge(pair, Host);
    let direct = model("large", 1) + (model("tuned", 2) - model("untuned", 3));
    counter.reset();
    assert_near(&scores_after(&bridged, &[1, 2], &[3]), &scores_after(&direct, &[1, 2], &[3]), 1e-5);
    // One row of the pair for the prompt and one for the token, not two of each.
    assert_eq!(counter.traffic().row_floats, 2 * WIDTH);
    assert!(matches!(bridged.open(&[]).map(drop), Err(Error::EmptyBatch { .. })));
}
