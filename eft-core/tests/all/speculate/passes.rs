//! The passes that speculative decoding runs, the numbers that it copies to the host, and the calls that it refuses.
use eft_core::conformance::{TrafficCounter, count_traffic};
use eft_core::{EngineSpec, FnEngine, Vocab};

use super::*;

/// A model that expects the letter `step` further on, with the logit `sure`.
pub(super) fn alphabet(name: &str, sure: f32, step: u32) -> (Source<Host>, std::sync::Arc<Counts>) {
    let counts = std::sync::Arc::new(Counts::default());
    let inner = FnEngine::new(EngineSpec::new(name, Host, vocab(name)), move |row| {
        let next = (row.tokens[row.tokens.len() - 1] + step) % WIDTH as u32;
        Ok((0..WIDTH as u32).map(|id| if id == next { sure } else { 0.0 }).collect())
    });
    (Source::new(Counting { inner, counts: counts.clone() }), counts)
}

fn long() -> Decoding {
    Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(9)
}

#[test]
fn a_block_is_one_pass_of_each_term_and_no_token_is_read_twice() {
    let (large, large_counts) = alphabet("large", 3.0, 1);
    let (tuned, tuned_counts) = alphabet("tuned", 2.0, 1);
    let (untuned, untuned_counts) = alphabet("untuned", 1.0, 1);
    let target = &large + (&tuned - &untuned);
    let mut text = target.speculate().draft(&tuned).block(2).generate([0], long()).unwrap();
    assert_eq!(text.by_ref().count(), 9);
    // Three blocks of two drafted tokens and one more. The last token is not read by any model. The prompt is a pass,
    // too.
    assert_eq!(large_counts.take(), (1 + 3, 1 + 2 + 3 + 3));
    assert_eq!(untuned_counts.take(), (1 + 3, 1 + 2 + 3 + 3));
    // The draft's score row after the second token of a block is a pass that only accepted blocks need.
    assert_eq!(tuned_counts.take(), (1 + 2 + 3 + 3, 1 + 2 + 3 + 3));
    let report = text.report().unwrap();
    assert_eq!((report.blocks, report.drafted, report.accepted, report.tokens), (3, 6, 6, 9));
    assert_eq!((report.acceptance(), report.tokens_per_pass()), (Some(1.0), Some(3.0)));

    // A draft that is always wrong runs only the passes that draft.
    let (wrong, wrong_counts) = alphabet("wrong", 2.0, 3);
    let target = &large + 0.1 * &wrong;
    let mut text = target.speculate().draft(&wrong).block(2).generate([0], long()).unwrap();
    assert_eq!(text.by_ref().count(), 9);
    let report = text.report().unwrap();
    assert_eq!((report.blocks, report.plain_steps, report.accepted, report.judged), (8, 1, 0, 8));
    assert_eq!(large_counts.take().0, 1 + 8 + 1);
    assert_eq!(wrong_counts.take().0, 1 + 1 + 2 * 7);
}

#[test]
fn drafting_rests_while_there_are_more_rows_than_it_is_for() {
    let ((large, counts), (tuned, _)) = (alphabet("large", 3.0, 1), alphabet("tuned", 2.0, 1));
    let target = &large + 0.5 * &tuned;
    let speculative = target.speculate().draft(&tuned).block(2).most_rows(1);
    let mut batch = speculative.generate_batch([[0]], long().max_tokens(12)).unwrap();
    let step = |batch: &mut Batch<Host>| {
        let events = batch.advance().unwrap();
        events.iter().filter(|event| matches!(event, Event::Token { .. })).count()
    };
    assert_eq!(step(&mut batch), 3, "a block");
    batch.join([eft_core::decode::Request::new([5]).max_tokens(2)]).unwrap();
    counts.take();
    assert_eq!((step(&mut batch), step(&mut batch)), (2, 2), "a token for each row");
    assert_eq!(counts.take().0, 1 + 2, "the prompt, and a pass for each step");
    assert_eq!(step(&mut batch), 3, "the other row has ended");
    let report = batch.report().unwrap();
    assert_eq!((report.blocks, report.plain_steps, report.tokens), (2, 2, 3 + 4 + 3));
}

#[test]
fn an_adapter_that_drafts_shares_the_pass_that_verifies() {
    let (small, counts) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let target = 2.0 * &tuned - &small;
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(4);
    let mut text = target.speculate().draft(&tuned).block(3).generate([1], decoding).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    let report = text.report().unwrap();
    // The prompt, the drafts, and one pass over each block, which also gives the draft's score row after it.
    let unread = usize::from(report.drafted > 0);
    assert_eq!(counts.take().0, 1 + report.draft_passes - unread + report.blocks + report.plain_steps);
}

#[test]
fn no_score_row_crosses_to_the_host() {
    let counter = TrafficCounter::new(Host);
    let [large, tuned, untuned, other] = [("large", 1), ("tuned", 2), ("untuned", 3), ("other", 4)]
        .map(|(n, s)| count_traffic(model(n, s), &counter));
    let target = &large + 0.3 * (&tuned - &untuned);
    let sampled = Sampling::default().temperature(0.8).top_k(8).top_p(0.95);
    let processed = |sampling| {
        let penalty = RepetitionPenalty::new(1.2).unwrap();
        Decoding::from(sampling).processor(penalty).alternatives(2).attribution(1)
    };
    for draft in [&tuned, &large, &other] {
        for decoding in
            [Sampling::greedy().into(), sampled.into(), processed(Sampling::greedy()), processed(sampled)]
        {
            for same_text in [false, true] {
                let speculative = target.speculate().draft(draft).block(3);
                let speculative = if same_text { speculative.same_text() } else { speculative };
                let lookup = eft_core::speculate::Lookup::default().least(1);
                let looked_up = speculative.clone().lookup(lookup);
                for speculative in [speculative, looked_up.clone(), looked_up.without_model()] {
                    counter.reset();
                    let decoding: Decoding = decoding.clone();
                    let batch = speculative.generate_batch([[1], [2]], decoding.max_tokens(12)).unwrap();
                    batch.for_each(|event| drop(event.unwrap()));
                    assert_eq!(counter.traffic().row_floats, 0);
                    assert!(counter.traffic().numbers > 0);
                }
            }
        }
    }
}

#[test]
fn the_draft_is_the_cheapest_positive_term_unless_named() {
    let sized = |name: &str, bytes: u64| {
        Source::new(FnEngine::new(EngineSpec::new(name, Host, vocab(name)).bytes(bytes), |row| {
            Ok(logits(1, &row.tokens, WIDTH))
        }))
    };
    let drafted_by = |target: &Source<Host>| {
        let batch = target.speculate().generate_batch([[1]], long()).unwrap();
        batch.into_evaluator().name(1).unwrap().to_string()
    };
    let (large, tuned, untuned) = (sized("large", 9), sized("tuned", 2), sized("untuned", 1));
    assert_eq!(drafted_by(&(&large + (&tuned - &untuned))), "tuned");
    assert_eq!(drafted_by(&((&tuned - &untuned) + &large)), "tuned");
    assert_eq!(drafted_by(&(&large - -0.5 * &untuned)), "untuned");
    let unknown = sized("unknown", 0);
    assert_eq!(drafted_by(&(&unknown + (&tuned - &untuned))), "tuned");
    assert_eq!(drafted_by(&(model("large", 1) + (model("tuned", 2) - model("untuned", 3)))), "tuned");
    assert_eq!(drafted_by(&combine::mixture([(0.5, &large), (0.5, &untuned)]).unwrap()), "untuned");
    // A part that a rule subtracts is not a draft, even if it is the cheapest or the last.
    for subtracted in [&untuned, &sized("last", 2)] {
        let careful = combine::nucleus_delta(&large, &tuned, subtracted, 1.0, 0.9).unwrap();
        assert_eq!(drafted_by(&careful), "tuned");
        assert_eq!(drafted_by(&(2.0 * &careful)), "tuned");
    }
    for target in [&large, &(-1.0 * &large - &tuned)] {
        let refused = target.speculate().generate([1], long()).map(drop);
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
    // A term under another prompt drafts under that prompt.
    let hinted = &large + untuned.under(PromptTransform::prefix([3]));
    let evaluator = hinted.speculate().generate_batch([[1]], long()).unwrap().into_evaluator();
    assert_eq!(evaluator.prompt_tokens(evaluator.name(1).unwrap(), 0).unwrap(), [3, 1]);
}

#[test]
fn drafts_over_other_tokens_are_refused() {
    let target = model("target", 1);
    let letters = |n: u8, first: u8| (0..n).map(move |i| vec![first + i]);
    let narrow = from_fn(Host, Vocab::new("narrow", letters(5, b'a')).unwrap(), |_| Ok(vec![0.0; 5]));
    let other = from_fn(Host, Vocab::new("other", letters(11, b'A')).unwrap(), |_| Ok(vec![0.0; 11]));
    let drafted = |draft: &Source<Host>| target.speculate().draft(draft).generate([1], long()).map(drop);
    match drafted(&narrow) {
        Err(Error::Unsupported { who, what }) => {
            assert_eq!((&who[..], &what[..]), ("narrow", "drafting for `target`: it has 5 of 11 tokens"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(drafted(&other), Err(Error::VocabMismatch { id: 0, .. })));
    // A draft does not propose tokens that the target lacks.
    let wide = from_fn(Host, Vocab::new("wide", letters(13, b'a')).unwrap(), |_| {
        Ok((0..13).map(|id| id as f32).collect())
    });
    let drafted: Vec<_> = target
        .speculate()
        .draft(&wide)
        .block(3)
        .generate([1], long())
        .unwrap()
        .map(|token| token.unwrap().id)
        .collect();
    let plain: Vec<_> = target.generate([1], long()).unwrap().map(|token| token.unwrap().id).collect();
    assert_eq!(drafted, plain);
}

#[test]
fn an_unsound_target_is_refused_and_an_unsound_draft_drafts_nothing() {
    let sound = model("sound", 1);
    let spoilt = from_fn(Host, vocab("spoilt"), |ids| {
        let mut row = logits(1, ids, WIDTH);
        if ids.len() > 4 {
            row[3] = f32::NAN;
        }
        Ok(row)
    });
    for sampling in [Sampling::greedy(), Sampling::default().seed(3)] {
        let decoding = || Decoding::from(sampling).stop_ids([]).max_tokens(9);
        let drafted =
            sound.speculate().draft(&spoilt).block(3).same_text().generate([1], decoding()).unwrap();
        let drafted: Vec<_> = drafted.map(|token| token.unwrap().id).collect();
        let plain: Vec<_> = sound.generate([1], decoding()).unwrap().map(|t| t.unwrap().id).collect();
        assert_eq!(drafted, plain);

        let target = &sound + 0.1 * &spoilt;
        for draft in [&sound, &spoilt] {
            let mut text = target.speculate().draft(draft).block(3).generate([1], decoding()).unwrap();
            let (tokens, error): (Vec<_>, Vec<_>) = text.by_ref().partition(|token| token.is_ok());
            // The error comes exactly where the scores are at fault.
            assert_eq!(tokens.len(), 4);
            match error[0].as_ref().unwrap_err() {
                Error::BadScores { term, row: 0, position: 4, .. } => assert_eq!(term, "spoilt"),
                other => panic!("{other:?}"),
            }
            // The evaluator holds the text, and no drafted tokens.
            let evaluator = text.into_evaluator();
            assert!(evaluator.pushed(0).len() <= 4);
        }
    }
}
