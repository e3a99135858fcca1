//! Requests and settings that are refused, and models that fail.
use eft_core::{Error, from_fn};

use super::*;

fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(4)
}

#[test]
fn a_refused_prompt_fails_its_rows_in_all_variants() {
    let (long, short) = (model("long", 1), short_model("short", 2, 6));
    let variants = [0.0, 1.0].map(|weight| Variant::new(&long + weight * &short, greedy()));
    let requests =
        [Request::new([1]), Request::new([1; 9]).samples(2), Request::new([]), Request::new([2]).samples(2)];
    let (outcomes, _) = together(&variants, &requests);
    for of_variant in outcomes.chunks(6) {
        assert!(of_variant[1].as_ref().is_err_and(|error| error.contains("short")), "{of_variant:?}");
        assert_eq!(of_variant[1], of_variant[2]);
        assert!(of_variant[3].is_err());
        assert!([0, 4, 5].iter().all(|row| of_variant[*row].is_ok()), "{of_variant:?}");
    }
    // The other rows are as if those requests had not been there, but for their ids.
    let left = [requests[0].clone().id(0), requests[3].clone().id(3)];
    let expected = alone(&variants, &left);
    let got = [0, 4, 5, 6, 10, 11].map(|row| outcomes[row].clone());
    assert_eq!(got[..], expected[..]);
}

#[test]
fn what_cannot_be_opened() {
    let source = model("m", 1);
    let open =
        |variants: Vec<Variant<Host>>, requests: Vec<Request>| Joint::open(variants, requests).map(drop);
    let fine = || vec![Request::new([1])];
    assert!(matches!(open(vec![], fine()), Err(Error::EmptyBatch { .. })));
    assert!(matches!(
        open(vec![Variant::new(source.clone(), greedy())], vec![]),
        Err(Error::EmptyBatch { .. })
    ));
    let one = |decoding: Decoding| {
        vec![Variant::new(source.clone(), greedy()), Variant::new(source.clone(), decoding)]
    };
    let error = open(one(greedy().attribution(2)), fine()).unwrap_err().to_string();
    assert!(error.contains("attribution"), "{error}");
    let attributed = open(one(greedy()), vec![Request::new([1]).attribution(2)]).unwrap_err().to_string();
    assert!(attributed.contains("attribution"), "{attributed}");
    let hot = greedy().sampling(Sampling::default().temperature(-1.0));
    assert!(matches!(open(one(hot), fine()), Err(Error::InvalidParameter { name: "temperature", .. })));
    assert!(matches!(
        open(one(greedy().stop_ids([99])), fine()),
        Err(Error::StopIdOutOfRange { id: 99, .. })
    ));
    assert!(matches!(
        open(one(greedy()), vec![Request::new([1]).samples(0)]),
        Err(Error::InvalidParameter { .. })
    ));
    assert!(matches!(open(one(greedy()), vec![Request::new([])]), Err(Error::EmptyPrompt { .. })));
    let missing = greedy().processor(RepetitionPenalty::new(1.3).unwrap().with_prompt_of("nobody"));
    assert!(matches!(open(one(missing), fine()), Err(Error::Unknown { kind: "term", .. })));
    let cancelled = vec![Variant::new(&source - &source, greedy())];
    assert!(matches!(open(cancelled, fine()), Err(Error::NothingLeft { .. })));
}

/// An unsound score is reported with the term, the row and the position at fault, although rows have moved.
#[test]
fn an_unsound_score_names_its_row_and_term() {
    let large = model("large", 1);
    // Bad in the third step of the texts of the second prompt.
    let bad = from_fn(Host, vocab("bad"), |tokens| {
        let wrong = tokens[0] == 2 && tokens.len() == 3;
        Ok(vec![if wrong { f32::NAN } else { 0.5 }; WIDTH])
    });
    let variants = [0.0, 1.0, 2.0].map(|weight| Variant::new(&large + weight * &bad, greedy()));
    let requests = [Request::new([1]).max_tokens(1), Request::new([2])];
    let joint = &mut Joint::open(variants, requests).unwrap();
    let error = outcomes(6, joint.by_ref()).unwrap_err();
    let Error::BadScores { term, row, position, .. } = &error else { panic!("{error}") };
    assert_eq!((&term[..], *row, *position), ("bad", 3, 2));
    assert!(joint.next().is_none());
    joint.retire(1).unwrap();
    assert!(joint.next().is_none());
}

#[test]
fn the_failure_of_a_model_ends_all_rows() {
    let large = model("large", 1);
    let fails = from_fn(Host, vocab("fails"), |tokens| match tokens.len() {
        3 => Err(Error::source("fails", "on purpose")),
        _ => Ok(vec![0.0; WIDTH]),
    });
    let variants = [Variant::new(large.clone(), greedy()), Variant::new(&large + &fails, greedy())];
    let mut joint = Joint::open(variants, [Request::new([1])]).unwrap();
    let events: Vec<_> = joint.by_ref().collect();
    assert!(events.len() == 5 && events[4].is_err(), "two tokens a row, then the error: {events:?}");
    assert!(joint.next().is_none());
}
