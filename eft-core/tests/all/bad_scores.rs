//! Bad scores: errors name the term, the row, the position and the token at fault.

use crate::common::*;
use eft_core::sample::AllowedTokens;
use eft_core::{
    Decoding, Error, Fault, Host, LogitSource, PromptTransform, Sampling, Source, combine, from_fn,
};

/// A model whose logits are spoilt once there are `at` tokens.
fn spoilt(name: &str, at: usize, spoil: fn(&mut Vec<f32>)) -> Source<Host> {
    from_fn(Host, vocab(name), move |tokens| {
        let mut row = logits(8, tokens, WIDTH);
        if tokens.len() >= at {
            spoil(&mut row);
        }
        Ok(row)
    })
}

/// The error that ends a batch of two rows, of which the second is one token longer.
fn failure(source: &Source<Host>) -> Error {
    let batch = source.generate_batch([vec![1, 2], vec![1, 2, 3]], endless(Sampling::greedy())).unwrap();
    let mut events: Vec<_> = batch.collect();
    let last = events.pop().unwrap().unwrap_err();
    assert!(events.iter().all(|e| e.is_ok()), "an error ends the batch");
    last
}

#[test]
fn bad_scores_name_term_row_position_and_token() {
    let (good, other) = (model("good", 1), model("other", 2));
    type Spoil = fn(&mut Vec<f32>);
    let cases: [(Spoil, f32, Fault); 6] = [
        (|row| row[4] = f32::NAN, 1.0, Fault::NotANumber(4)),
        (|row| row[10] = f32::INFINITY, 0.5, Fault::Infinite(10)),
        (|row| row[10] = f32::INFINITY, -0.5, Fault::Infinite(10)),
        (|row| row[3] = f32::NEG_INFINITY, -0.5, Fault::ExcludedBySubtraction(3)),
        (|row| row.fill(f32::NEG_INFINITY), 1.0, Fault::NothingFinite),
        (|row| row.fill(f32::NAN), -1.0, Fault::NotANumber(0)),
    ];
    for (spoil, weight, fault) in cases {
        // Scores are spoilt from 5 tokens on, which the second row reaches first, at position 2.
        let combination = &good + weight * spoilt("spoilt", 5, spoil) + &other;
        match failure(&combination) {
            Error::BadScores { term, row, position, fault: found } => {
                assert_eq!((&term[..], row, position, found), ("spoilt", 1, 2, fault));
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn bad_scores_are_found_under_every_rule_and_sampling() {
    let (good, bad) = (model("good", 1), spoilt("spoilt", 4, |row| row[7] = f32::NAN));
    let combinations = [
        combine::mixture([(0.5, &good), (0.5, &bad)]).unwrap(),
        combine::power_mean([(0.5, &good), (0.5, &bad)], 2.0).unwrap(),
        combine::union([&good, &bad]).unwrap(),
        combine::intersection([&good, &bad]).unwrap(),
        combine::nucleus_delta(&good, &bad, &good, 1.0, 0.5).unwrap(),
        combine::nucleus_delta(&bad, &good, &good, 1.0, 0.9999).unwrap(),
        combine::plausibility(&good, &bad, 0.5).unwrap(),
        combine::gate(&bad, &good, 0.0).unwrap(),
    ];
    let samplings = [
        Sampling::greedy(),
        Sampling::default(),
        Sampling::default().temperature(0.5).top_k(2),
        Sampling::default().top_p(0.5).min_p(0.2),
    ];
    for combination in &combinations {
        for sampling in samplings {
            let errors: Vec<_> =
                combination.generate([1, 2], endless(sampling)).unwrap().filter_map(Result::err).collect();
            match &errors[..] {
                [Error::BadScores { term, row: 0, position: 2, fault: Fault::NotANumber(7) }] => {
                    assert_eq!(term, "spoilt");
                }
                other => panic!("{combination}: {other:?}"),
            }
        }
    }
}

#[test]
fn scoring_finds_bad_scores_too() {
    let bad = spoilt("spoilt", 4, |row| row[7] = f32::NAN);
    let error = (model("good", 1) + bad).score([1, 2], &[3, 3, 3]).unwrap_err();
    assert!(matches!(&error, Error::BadScores { term, position: 2, .. } if term == "spoilt"), "{error}");
    // An excluded token is not an error: its probability is 0.
    let excluding = spoilt("excluding", 0, |row| row[3] = f32::NEG_INFINITY);
    assert_eq!(excluding.score([1], &[3]).unwrap().total, f64::NEG_INFINITY);
}

#[test]
fn masks_that_leave_no_token_are_distinguished_from_bad_scores() {
    let nothing = Decoding::from(Sampling::greedy()).processor(AllowedTokens::new([]));
    let error = model("m", 1).generate([1], nothing).unwrap().next().unwrap().unwrap_err();
    assert!(
        matches!(error, Error::BadScores { fault: Fault::NothingAllowed, row: 0, position: 0, .. }),
        "{error}"
    );
    // Two models that have no token in common.
    let half = |name: &str, odd: usize| {
        from_fn(Host, vocab(name), move |_| {
            Ok((0..WIDTH).map(|i| if i % 2 == odd { 0.0 } else { f32::NEG_INFINITY }).collect())
        })
    };
    let error = (half("even", 0) + half("odd", 1)).generate([1], Sampling::greedy()).unwrap().next();
    let error = error.unwrap().unwrap_err();
    assert!(matches!(error, Error::BadScores { fault: Fault::NothingInCommon, .. }), "{error}");
}

#[test]
fn combinations_that_overflow_are_reported_as_unsound() {
    let huge = from_fn(Host, vocab("huge"), |_| Ok(vec![3e38; WIDTH]));
    let error = (&huge + 3e38 * &huge.named("again").under(PromptTransform::prefix([1])))
        .generate([1], Sampling::greedy());
    let error = error.unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, Error::BadScores { fault: Fault::Unsound, .. }), "{error}");
}

#[test]
fn samplers_report_what_is_wrong_with_scores() {
    for (value, fault) in [(f32::NAN, Fault::NotANumber(0)), (f32::INFINITY, Fault::Infinite(0))] {
        let source = from_fn(Host, vocab("bad"), move |_| Ok(vec![value; WIDTH]));
        let (_, scores) = source.open(&[[1].into()]).unwrap();
        for decoding in [Decoding::default(), Decoding::default().processor(AllowedTokens::new([1]))] {
            match source.sampler(decoding, 1).unwrap().sample(&scores) {
                Err(Error::BadScores { fault: found, row: 0, position: 0, .. }) => assert_eq!(found, fault),
                other => panic!("{other:?}"),
            }
        }
    }
}
